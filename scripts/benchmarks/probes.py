"""What a media library does: ffprobe of stored films, and the start of one."""

import json
import os
import shutil
import subprocess
import time

from . import media, peers
from .local import Local, fetch, fetched, hls_of, scratch
from .report import load, median, percentile
from .simulated import Stage, timed_reads

ROUNDS = 3
# Of the start: what a player has before it runs without a pause.
PLAY_SECONDS = 10


def ffprobe(path):
    begun = time.monotonic()
    subprocess.run(["ffprobe", "-v", "error", "-show_format", "-show_streams", path], check=True,
                   stdout=subprocess.DEVNULL)
    return time.monotonic() - begun


def probe(run):
    """ffprobe of stored films of one hour through a fresh mount: bytes from the store."""
    peers.debian(ffmpeg="ffmpeg", fusermount3="fuse3")
    directory = scratch()
    library = None
    try:
        library = Local(run, directory)
        films = {"MKV": "hour.mkv", "MP4, moov at the end": "hour.mp4"}
        for name in films.values():
            library.store(media.hour(name), name)
        rows = []
        for what, name in films.items():
            cold, again, took = [], [], []
            for _ in range(ROUNDS):
                library.remount()
                before = library.fetched()
                took.append(ffprobe(library.mnt(name)))
                # What is fetched ahead comes after the answer.
                time.sleep(0.5)
                first = library.fetched()
                ffprobe(library.mnt(name))
                time.sleep(0.5)
                cold.append(first - before)
                again.append(library.fetched() - first)
            local = median([ffprobe(media.hour(name)) for _ in range(ROUNDS)])
            rows.append({"what": what, "MiB": os.path.getsize(media.hour(name)) / 2**20,
                         "from the store KiB": median(cold) / 1024, "again KiB": median(again) / 1024,
                         "ms": median(took) * 1000, "x local": median(took) / local, "load": load()})
        return rows
    finally:
        if library:
            library.close()
        shutil.rmtree(directory, ignore_errors=True)


def scan(run):
    """ffprobe of --films stored films, one after the other, 50 ms away from the service, after a restart."""
    peers.debian(ffmpeg="ffmpeg", fusermount3="fuse3")
    directory = scratch()
    stage = None
    try:
        shelf = media.shelf(run.films, os.path.join(directory, "shelf"))
        stage = Stage(run.programs, 4, "--latency-ms", 50, "--messages-per-minute", 0, http="127.0.0.1:0",
                      TGFS_PACE="fast")
        stage.attached()
        os.mkdir(stage.mnt("shelf"))
        for path in shelf:
            shutil.copyfile(path, stage.mnt(f"shelf/{os.path.basename(path)}"))
        stage.tgfs("status", "--wait")
        rows = []
        for what in ("after a restart", "again"):
            if what == "after a restart":
                stage.remount()
                time.sleep(3)
            before = fetched(stage.url())
            begun = time.monotonic()
            each = [ffprobe(stage.mnt(f"shelf/{os.path.basename(path)}")) for path in shelf]
            seconds = time.monotonic() - begun
            came = fetched(stage.url()) - before
            begun = time.monotonic()
            for path in shelf:
                ffprobe(path)
            local = time.monotonic() - begun
            rows.append({"what": what, "films": len(shelf), "seconds": seconds, "x local disk": seconds / local,
                         "remote KiB a film": came / 1024 / len(shelf), "p50 ms": percentile(each, 0.5) * 1000,
                         "p99 ms": percentile(each, 0.99) * 1000, "load": load()})
        return rows
    finally:
        if stage:
            stage.close()
        shutil.rmtree(directory, ignore_errors=True)


def start(run):
    """A film that nobody read yet, 50 ms away and 8 MB/s a lane: first byte, and 10 s of play over HLS."""
    peers.debian(ffmpeg="ffmpeg", fusermount3="fuse3")
    stage = Stage(run.programs, 4, "--latency-ms", 50, "--lane-mbytes-per-s", 8, http="127.0.0.1:0")
    try:
        stage.attached()
        shutil.copyfile(media.wide("start.mkv", 4), stage.mnt("film.mkv"))
        stage.tgfs("status", "--wait", "/film.mkv")
        slug = next(one for one in files_of(stage.url()) if one["path"] == "/film.mkv")["id"]
        rows = []
        for _ in range(ROUNDS):
            stage.remount()
            time.sleep(3)
            first = timed_reads(stage.mnt("film.mkv"), [0], 65536)[0]
            seek = timed_reads(stage.mnt("film.mkv"), [(100 << 20) + 4096], 65536)[0]
            stage.remount()
            time.sleep(3)
            begun = time.monotonic()
            lists = hls_of(stage.url(), slug)
            listed = time.monotonic() - begun
            marks = [play(begun, addresses) for addresses in lists.values()]
            rows.append({"first byte ms": first * 1000, "after a seek ms": seek * 1000, "playlists ms": listed * 1000,
                         f"{PLAY_SECONDS} s of play, s": max(marks), "load": load()})
        return rows
    finally:
        stage.close()


def files_of(url):
    return json.loads(fetch(url + "/files.json"))["files"]


def play(begun, addresses):
    """Fetches a rendition until it holds the first seconds; when, from the beginning."""
    held = 0.0
    for address, seconds in addresses:
        fetch(address)
        held += seconds
        if held >= PLAY_SECONDS:
            break
    return time.monotonic() - begun
