"""What a media library does: ffprobe of stored films, and the start of one."""

import os
import shutil
import subprocess
import time

from . import media, peers
from .local import fetch, fetched, hls_of, scratch, slug_of
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
    """ffprobe of stored films of one hour through a fresh mount: bytes from the service, 50 ms away."""
    peers.debian(ffmpeg="ffmpeg", fusermount3="fuse3")
    films = {"MKV": "hour.mkv", "MP4, moov at the end": "hour.mp4"}
    rows = []
    for pinned, size in (("nothing pinned", 0), ("as it comes", "4GiB")):
        stage = Stage(run.programs, 4, "--latency-ms", 50, http="127.0.0.1:0", TGFS_PIN_SIZE=size)
        try:
            stage.attached()
            for name in films.values():
                shutil.copyfile(media.hour(name), stage.mnt(name))
            stage.tgfs("status", "--wait")
            for what, name in films.items():
                rows.append({"what": f"{what}, {pinned}"} | probed(stage, name) | {"load": load()})
        finally:
            stage.close()
    return rows


def probed(stage, name):
    cold, took = [], []
    for _ in range(ROUNDS):
        stage.remount()
        time.sleep(3)
        before = fetched(stage.url())
        took.append(ffprobe(stage.mnt(name)))
        # What is fetched ahead comes after the answer.
        time.sleep(0.5)
        cold.append(fetched(stage.url()) - before)
    local = median([ffprobe(media.hour(name)) for _ in range(ROUNDS)])
    return {"MiB": os.path.getsize(media.hour(name)) / 2**20, "from the service KiB": median(cold) / 1024,
            "ms": median(took) * 1000, "x local disk": median(took) / local}


def scan(run):
    """ffprobe of --films stored films, one after the other, 50 ms away from the service, after a restart; and the
    same films on this machine's disk, by turns."""
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
        slug = slug_of(stage.url())
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


def play(begun, addresses):
    """Fetches a rendition until it holds the first seconds; when, from the beginning."""
    held = 0.0
    for address, seconds in addresses:
        fetch(address)
        held += seconds
        if held >= PLAY_SECONDS:
            break
    return time.monotonic() - begun
