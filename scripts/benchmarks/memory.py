"""Memory of the daemon under many readers, and after many opens."""

import os
import random
import shutil
import threading
import time

from . import media
from .gateway import SEGMENTS, segments_of
from .local import Local, fetch, scratch
from .report import load

CACHE_MIB = 256
READERS = 64
SECONDS = 15
OPENS = 10_000


def read_about(library, size, over, failures, number):
    """A reader that reads on for a while, and seeks; half of them ask for segments."""
    dice = random.Random(number)
    addresses = segments_of(library)
    try:
        with open(library.mnt("film.mkv"), "rb", buffering=0) as film:
            while not over.is_set():
                if number % 2:
                    fetch(dice.choice(addresses))
                    continue
                at = dice.randrange(size)
                for step in range(32):
                    os.pread(film.fileno(), 1 << 18, at + (step << 18))
                os.posix_fadvise(film.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    except OSError as error:
        failures.append(error)


def memory(run):
    """64 readers at once, half through the mount and half over HTTP, three times; then 10,000 opens."""
    directory = scratch()
    library = None
    try:
        library = Local(run, directory, CACHE_SIZE=f"{CACHE_MIB}MiB")
        library.store(media.wide("memory.mkv", SEGMENTS * media.SEGMENT_SECONDS / 30), "film.mkv")
        library.remount()
        rows = []
        def row(what, most):
            rows.append({"what": what, "memory MiB": library.daemon.rss_mib(), "most MiB": most,
                         "above cache MiB": most - CACHE_MIB, "load": load()})
        row("at start", library.daemon.rss_mib())
        size = os.path.getsize(library.mnt("film.mkv"))
        for turn in range(3):
            most = readers(library, size, turn)
            row(f"{READERS} readers, {turn + 1}", most)
        for turn in range(2):
            for _ in range(OPENS):
                with open(library.mnt("film.mkv"), "rb", buffering=0) as film:
                    film.read(4096)
            row(f"{OPENS} opens, {turn + 1}", library.daemon.rss_mib())
        return rows
    finally:
        if library:
            library.close()
        shutil.rmtree(directory, ignore_errors=True)


def readers(library, size, turn):
    """The most memory in MiB while they read."""
    over, failures, most = threading.Event(), [], 0.0
    crowd = [threading.Thread(target=read_about, args=(library, size, over, failures, turn * READERS + number))
             for number in range(READERS)]
    for one in crowd:
        one.start()
    begun = time.monotonic()
    while time.monotonic() - begun < SECONDS:
        most = max(most, library.daemon.rss_mib())
        time.sleep(0.2)
    over.set()
    for one in crowd:
        one.join()
    if failures:
        raise failures[0]
    return most
