"""Slow and never-reading HTTP clients, and a bystander who wants an answer within a second."""

import http.client
import os
import socket
import statistics
import time
import urllib.parse

from benchmarks import peers

from .site import Site, expect

CONNECTIONS = 512
STREAMS = 64
CACHE_MIB = 64
# Beside the cache.
MEMORY_MIB = 200
PROBES = 10
WANTED_SECONDS = 1.0


class Library:
    """A daemon with one large file, and what a client needs to ask for it."""

    def __init__(self, site):
        self.site, self.token = site, open(os.path.join(site.state, "http-token")).read().strip()
        address = urllib.parse.urlsplit(site.said("http"))
        self.host, self.port = address.hostname, address.port
        self.path = f"/t/{self.token}/fs/large.bin"

    def ask(self):
        """Seconds until a small answer has come."""
        begun = time.monotonic()
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        connection.request("GET", self.path, headers={"Range": "bytes=0-99"})
        answer = connection.getresponse()
        expect(answer.status == 206 and len(answer.read()) == 100, f"the bystander got {answer.status}")
        connection.close()
        return time.monotonic() - begun

    def connect(self, receive_bytes=4096):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        connection.settimeout(5)
        # Another address of this machine: what the bystander asks from is not the flood's.
        connection.bind(("127.0.0.2", 0))
        connection.connect((self.host, self.port))
        return connection


def during(library, name, connections):
    """What the bystander and the memory say while connections are held."""
    waits = [library.ask() for _ in range(PROBES)]
    memory = library.site.daemon.rss_mib()
    for connection in connections:
        connection.close()
    expect(max(waits) <= WANTED_SECONDS, f"{name}: the bystander waited {max(waits):.1f} s")
    expect(memory <= CACHE_MIB + MEMORY_MIB, f"{name}: {memory:.0f} MiB, the cache is {CACHE_MIB}")
    return f"{name} {statistics.median(waits) * 1000:.0f} ms, {memory:.0f} MiB"


def attempts(make, count):
    """As many connections as the server takes."""
    made = []
    for _ in range(count):
        try:
            made.append(make())
        except OSError:
            break
    return made


def never_reading(library):
    def one():
        connection = library.connect()
        connection.sendall(f"GET {library.path} HTTP/1.1\r\nHost: {library.host}\r\n\r\n".encode())
        return connection
    return attempts(one, CONNECTIONS)


def slow_headers(library):
    def one():
        connection = library.connect()
        connection.sendall(b"GET / HTTP/1.1\r\nHost: ")
        return connection
    return attempts(one, CONNECTIONS)


def closed_windows(library):
    """HTTP/2 with a window of zero: the server has answers that it may not send."""
    from h2.config import H2Configuration
    from h2.connection import H2Connection
    from h2.settings import SettingCodes

    def one():
        connection = library.connect(1 << 16)
        session = H2Connection(H2Configuration(client_side=True))
        session.local_settings[SettingCodes.INITIAL_WINDOW_SIZE] = 0
        session.initiate_connection()
        for stream in range(1, 2 * STREAMS, 2):
            session.send_headers(stream, [(":method", "GET"), (":path", library.path), (":scheme", "http"),
                                          (":authority", f"{library.host}:{library.port}"), ("range", "bytes=0-524287")],
                                 end_stream=True)
        connection.sendall(session.data_to_send())
        return connection
    return attempts(one, CONNECTIONS // 16)


def clients(run):
    peers.python_package("h2==4.4.1", importable=True)
    said = []
    with Site(run, env={"CACHE_SIZE": f"{CACHE_MIB}MiB", "MALLOC_ARENA_MAX": "2"}) as site:
        site.start()
        with open(site.mnt("large.bin"), "wb") as file:
            for _ in range(256):
                file.write(os.urandom(1 << 20))
        site.wait_stored()
        library = Library(site)
        library.ask()
        for flood in (never_reading, slow_headers, closed_windows):
            connections = flood(library)
            time.sleep(2)
            said.append(during(library, flood.__name__, connections))
            expect(site.is_alive(), "the daemon ended")
        time.sleep(3)
        site.stop()
    return "a bystander's median wait and the daemon's memory: " + "; ".join(said)
