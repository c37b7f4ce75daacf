"""Slow and never-reading HTTP clients, and a bystander who wants an answer within a second."""

import http.client
import itertools
import os
import socket
import statistics
import subprocess
import time
import urllib.parse

from benchmarks import peers

from .site import Site, expect

CONNECTIONS = 512
STREAMS = 64
CACHE_MIB = 64
# Beside the cache.
MEMORY_MIB = 200
WANTED_SECONDS = 1.0
# Rounds of questions of the bystander while a flood is held.
ROUNDS = 5
# A flood comes from more addresses than an address may have a share of.
ADDRESSES = [f"127.0.0.{number}" for number in range(2, 12)]
MOST_RESETS = 2000


class Library:
    """A daemon with a large file and a film, and what a client needs to ask for them."""

    def __init__(self, site):
        self.site, self.token = site, open(os.path.join(site.state, "http-token")).read().strip()
        address = urllib.parse.urlsplit(site.said("http"))
        self.host, self.port = address.hostname, address.port
        self.authority = f"{self.host}:{self.port}"
        film = next(entry["id"] for entry in site.listed() if entry["path"] == "/film.mkv")
        self.file = f"/t/{self.token}/fs/large.bin"
        self.segment = f"/t/{self.token}/segment/{film}/ts/video/00001.ts"
        self.playlist = f"/t/{self.token}/playlist/local/{film}.m3u8"
        self.addresses = itertools.cycle(ADDRESSES)

    def ask(self, path, headers):
        """Seconds until an answer has come whole."""
        begun = time.monotonic()
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        size = len(answer.read())
        expect(answer.status in (200, 206) and size > 0, f"the bystander got {answer.status} for {os.path.basename(path)}")
        connection.close()
        return time.monotonic() - begun

    def bystander(self):
        """Seconds until each of the answers that somebody needs who watches a film."""
        some = {"Range": "bytes=0-99999"}
        return [self.ask(*what) for what in ((self.playlist, {}), (self.segment, some), (self.file, some), ("/healthz", {}))]

    def connect(self, receive_bytes=4096):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        connection.settimeout(5)
        # Other addresses of this machine: what the bystander asks from is not the flood's.
        connection.bind((next(self.addresses), 0))
        connection.connect((self.host, self.port))
        return connection


class Flood:
    """Connections that are held, and what keeps them busy."""

    def __init__(self, library, make, count, keep=lambda connection: None):
        self.name, self.keep, self.held = make.__name__, keep, []
        for _ in range(count):
            try:
                self.held.append(make(library))
            except OSError:
                # The server takes no more, or hangs up on such a client.
                continue
        expect(self.held, f"{self.name}: the server took none of {count} connections")

    def goes_on(self):
        for connection in self.held:
            try:
                self.keep(connection)
            except OSError:
                continue

    def end(self):
        for connection in self.held:
            connection.close()


def during(library, flood, calm):
    """What the bystander and the memory say while a flood is held. `calm` are its waits just before."""
    waits = []
    for _ in range(ROUNDS):
        waits += library.bystander()
        flood.goes_on()
        time.sleep(0.5)
    memory = library.site.daemon.rss_mib()
    flood.end()
    expect(library.site.is_alive(), f"{flood.name}: the daemon ended")
    # Beside other work of the machine, an answer without any flood may take as long.
    expect(max(waits) <= max(WANTED_SECONDS, 2 * max(calm)),
           f"{flood.name}: the bystander waited {max(waits):.1f} s, and {max(calm):.1f} s just before")
    expect(memory <= CACHE_MIB + MEMORY_MIB, f"{flood.name}: {memory:.0f} MiB, the cache is {CACHE_MIB}")
    return f"{flood.name} ({len(flood.held)}) {statistics.median(waits) * 1000:.0f} and {max(waits) * 1000:.0f} ms, {memory:.0f} MiB"


def head(library, path, method="GET"):
    return f"{method} {path} HTTP/1.1\r\nHost: {library.authority}\r\nAuthorization: Bearer {library.token}\r\n".encode()


def sent(library, data, receive_bytes=4096):
    connection = library.connect(receive_bytes)
    connection.sendall(data)
    return connection


def never_reading(library):
    return sent(library, head(library, library.file) + b"\r\n")


def never_reading_segments(library):
    return sent(library, head(library, library.segment) + b"\r\n")


def slow_reading(library):
    return sent(library, head(library, library.file) + b"\r\n")


def a_byte(connection):
    connection.setblocking(False)
    connection.recv(1)


def slow_headers(library):
    return sent(library, head(library, "/"))


def a_header(connection):
    connection.sendall(b"X-A: b\r\n")


def slow_bodies(library):
    return sent(library, head(library, "/login", "POST") + b"Content-Length: 4000\r\n\r\ntoken=")


def idle(library):
    return library.connect()


def many_headers(library):
    return sent(library, head(library, "/") + b"".join(b"X-%d: y\r\n" % number for number in range(10_000)))


def session(window):
    """A client of HTTP/2 whose streams have a window of so many bytes."""
    from h2.config import H2Configuration
    from h2.connection import H2Connection
    from h2.settings import SettingCodes
    made = H2Connection(H2Configuration(client_side=True))
    made.local_settings[SettingCodes.INITIAL_WINDOW_SIZE] = window
    made.initiate_connection()
    return made


def request(library, made, stream, path, *, last=True, some=True):
    fields = [(":method", "GET"), (":path", path), (":scheme", "http"), (":authority", library.authority)]
    made.send_headers(stream, fields + ([("range", "bytes=0-524287")] if some else []), end_stream=last)


def windows(library, window, path, some=True):
    made = session(window)
    for stream in range(1, 2 * STREAMS, 2):
        request(library, made, stream, path, some=some)
    return sent(library, made.data_to_send(), 1 << 16)


def windows_of_zero(library):
    return windows(library, 0, library.file)


def windows_of_zero_on_segments(library):
    return windows(library, 0, library.segment)


def windows_of_zero_on_texts(library):
    return windows(library, 0, library.playlist, some=False)


def windows_of_one_byte(library):
    return windows(library, 1, library.segment)


def window_of_the_connection(library):
    """The streams have room, the connection has none: its 64 KiB are never renewed."""
    return windows(library, (1 << 31) - 1, library.segment)


def streams_that_never_end(library):
    """Requests whose bodies never come."""
    made = session(65_535)
    for stream in range(1, 2 * STREAMS, 2):
        request(library, made, stream, library.segment, last=False)
    return sent(library, made.data_to_send(), 1 << 16)


def resets(library):
    """Streams that are reset at once, again and again."""
    made = session(65_535)
    connection = sent(library, made.data_to_send(), 1 << 16)
    for stream in range(1, 2 * MOST_RESETS, 2):
        request(library, made, stream, library.segment)
        made.reset_stream(stream, 8)
        try:
            connection.sendall(made.data_to_send())
        except OSError:
            break
    return connection


def frame(kind, flags, stream, payload):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def continuations(library):
    """A header block that never ends."""
    connection = sent(library, session(65_535).data_to_send() + frame(1, 1, 1, b"\x82"), 1 << 16)
    block = frame(9, 0, 1, b"\x00\x01a\x7f\xff\x7e" + b"b" * 16_000)
    try:
        for _ in range(200):
            connection.sendall(block)
    except OSError:
        pass
    return connection


def pings(library):
    """Pings and settings whose answers nobody reads."""
    connection = sent(library, session(65_535).data_to_send())
    try:
        for _ in range(100):
            connection.sendall((frame(6, 0, 0, b"12345678") + frame(4, 0, 0, b"")) * 200)
    except OSError:
        pass
    return connection


FLOODS = [(never_reading, CONNECTIONS, None), (never_reading_segments, CONNECTIONS, None), (slow_reading, CONNECTIONS, a_byte),
          (slow_headers, CONNECTIONS, a_header), (many_headers, 64, None), (slow_bodies, CONNECTIONS, None), (idle, CONNECTIONS, None),
          (windows_of_zero, 32, None), (windows_of_zero_on_segments, 32, None), (windows_of_zero_on_texts, 64, None),
          (windows_of_one_byte, 32, None), (window_of_the_connection, 32, None), (streams_that_never_end, 32, None), (resets, 8, None),
          (continuations, 8, None), (pings, 8, None)]


def film(path):
    picture = "testsrc2=s=1280x720:r=25:d=12,noise=alls=40:allf=t"
    subprocess.run(["ffmpeg", "-y", "-v", "error", "-nostdin", "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", "sine=d=12", "-c:v",
                    "libx264", "-preset", "ultrafast", "-qp", "28", "-g", "50", "-c:a", "aac", path], check=True)


def clients(run):
    peers.debian(ffmpeg="ffmpeg")
    peers.python_package("h2==4.4.1", importable=True)
    said = []
    with Site(run, env={"CACHE_SIZE": f"{CACHE_MIB}MiB", "TGFS_HTTP_PAUSE": "10min"}) as site:
        site.start()
        film(site.path("film.mkv"))
        site.put_in("film.mkv")
        with open(site.mnt("large.bin"), "wb") as file:
            for _ in range(256):
                file.write(os.urandom(1 << 20))
        site.wait_stored()
        library = Library(site)
        library.bystander()
        for make, count, keep in FLOODS:
            calm = [wait for _ in range(ROUNDS) for wait in library.bystander()]
            said.append(during(library, Flood(library, make, count, *([keep] if keep else [])), calm))
        # What a flood held is given back.
        time.sleep(5)
        waits, memory = library.bystander(), site.daemon.rss_mib()
        expect(max(waits) <= max(WANTED_SECONDS, 2 * max(calm)), f"after the floods the bystander waits {max(waits):.1f} s")
        expect(memory <= CACHE_MIB + MEMORY_MIB, f"after the floods: {memory:.0f} MiB")
        said.append(f"afterwards {memory:.0f} MiB")
        site.stop()
    return "flood (connections held), a bystander's median and longest wait, the daemon's memory: " + "; ".join(said)
