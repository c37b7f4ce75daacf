"""Many HLS clients at play speed, against nginx."""

import asyncio
import os
import random
import resource
import shutil
import time
from urllib.parse import urlsplit

from . import media, peers
from .gateway import SEGMENTS, path_of, segments_of
from .local import Local, fetch, scratch
from .report import load, percentile

CLIENTS = 500
PLAYED = 6
CACHE_MIB = 256


class Client(asyncio.BufferedProtocol):
    """One connection that asks for a segment after the other and throws the bytes away."""

    buffer = bytearray(1 << 18)

    def __init__(self):
        self.left = 0
        self.head = b""
        self.done = None
        self.failed = False

    def connection_made(self, transport):
        self.transport = transport

    def connection_lost(self, error):
        self.failed = True
        if self.done and not self.done.done():
            self.done.set_result(None)

    def get_buffer(self, hint):
        return self.buffer

    def buffer_updated(self, count):
        if self.left == 0:
            self.head += bytes(self.buffer[:count])
            end = self.head.find(b"\r\n\r\n")
            if end < 0:
                return
            lines = self.head[:end].lower().split(b"\r\n")
            self.failed |= b" 200" not in lines[0]
            length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:"))
            count = len(self.head) - end - 4
            self.head, self.left = b"", length
        self.left -= count
        if self.left == 0 and self.done and not self.done.done():
            self.done.set_result(None)

    async def fetch(self, host, path):
        self.done = asyncio.get_running_loop().create_future()
        self.transport.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        await self.done


async def play(host, paths, start, begin, took, stalls):
    """Plays from a place in the film; the next segment is asked for when the one before begins to play."""
    await asyncio.sleep(start)
    address, port = host.split(":")
    _, client = await asyncio.get_running_loop().create_connection(Client, address, int(port))
    plays_from = None
    for number in range(PLAYED):
        asked = time.monotonic()
        await client.fetch(host, paths[(begin + number) % len(paths)])
        now = time.monotonic()
        if client.failed:
            stalls.append(float("inf"))
            return
        took.append(now - asked)
        if plays_from is None:
            plays_from = now
        late = now - (plays_from + number * media.SEGMENT_SECONDS)
        if late > 0:
            stalls.append(late)
            plays_from += late
        # It plays now, and the next is wanted.
        await asyncio.sleep(max(0.0, plays_from + number * media.SEGMENT_SECONDS - time.monotonic()))
    client.transport.close()


async def crowd(base, paths, memory):
    """All clients; seconds a segment took, stalls, and the most memory the server had."""
    dice = random.Random(1)
    took, stalls, most = [], [], 0.0
    host = urlsplit(base).netloc
    clients = [asyncio.create_task(play(host, paths, dice.random() * media.SEGMENT_SECONDS,
                                        dice.randrange(len(paths)), took, stalls)) for _ in range(CLIENTS)]
    while not all(client.done() for client in clients):
        most = max(most, memory())
        await asyncio.wait(clients, timeout=0.5)
    for client in clients:
        client.result()
    return took, stalls, most


def players(run):
    """500 clients that play a film of 5.6 Mbit/s at its speed, each from another place; the cache is smaller."""
    peers.debian(nginx="nginx-light", fusermount3="fuse3")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    directory = scratch()
    held = []
    try:
        library = Local(run, directory, CACHE_SIZE=f"{CACHE_MIB}MiB")
        held.append(library)
        library.store(media.wide("gateway.mkv", SEGMENTS * media.SEGMENT_SECONDS / 60 + 0.5), "film.mkv")
        addresses = segments_of(library)
        plain = os.path.join(directory, "www")
        os.mkdir(plain)
        for number, address in enumerate(addresses):
            with open(os.path.join(plain, f"{number}.m4s"), "wb") as output:
                output.write(fetch(address))
        (port,) = peers.free_ports(1)
        nginx = peers.Nginx(plain, directory, port)
        held.append(nginx)
        library.remount()
        paths = [path_of(address) for address in addresses]
        names = [f"/{number}.m4s" for number in range(len(addresses))]
        rows = []
        for name, base, wanted, cpu, memory in (
                ("nginx", f"http://127.0.0.1:{port}", names, nginx.cpu, lambda: 0.0),
                ("tgfs", library.base, paths, library.cpu, library.daemon.rss_mib)):
            before = cpu()
            begun = time.monotonic()
            took, stalls, most = asyncio.run(crowd(base, wanted, memory))
            seconds = time.monotonic() - begun
            gib = len(took) * os.path.getsize(os.path.join(plain, "0.m4s")) / 2**30
            rows.append({"what": name, "clients": CLIENTS, "segments": len(took), "stalls": len(stalls),
                         "p50 ms": percentile(took, 0.5) * 1000, "p99 ms": percentile(took, 0.99) * 1000,
                         "worst ms": max(took) * 1000, "MB/s": gib * 1073.7 / seconds,
                         "CPU s/GiB": (cpu() - before) / gib, "memory MiB": most,
                         "above cache MiB": most - CACHE_MIB if most else "", "load": load()})
        return rows
    finally:
        for one in held:
            one.close()
        shutil.rmtree(directory, ignore_errors=True)
