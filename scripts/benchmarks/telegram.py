"""Uploads and cold reads over the simulated Telegram."""

import math
import os
import random
import shutil
import statistics
import time

from . import media
from .report import load
from .simulated import MB, Stage, rest, scratch_film, store, timed_reads


def upload(run):
    """Every number of bots, each capped at 8 MB/s, 30 ms away, one channel at the usual pace."""
    megabytes = run.film_mb
    rows, one = [], None
    with scratch_film(megabytes) as source:
        for bots in run.bots:
            stage = Stage(run.programs, bots, "--latency-ms", 30, "--bot-mbytes-per-s", 8)
            try:
                stage.attached()
                copied, seconds, cpu = store(stage, source, megabytes)
            finally:
                stage.close()
            rate = megabytes / seconds
            one = one or rate
            rows.append({"bots": bots, "copied s": round(copied, 1), "stored s": round(seconds, 1), "MB/s": round(rate, 1),
                         "x one bot": round(rate / one, 2), "CPU s/GB": round(cpu, 2), "load": load()})
    return rows


def upload_free(run):
    """No caps, no latency, four bots."""
    megabytes = run.film_mb
    rows = []
    with scratch_film(megabytes) as source:
        for _ in range(3):
            stage = Stage(run.programs, 4)
            try:
                stage.attached()
                copied, seconds, cpu = store(stage, source, megabytes)
            finally:
                stage.close()
            rows.append({"copied s": round(copied, 1), "stored s": round(seconds, 1), "MB/s": round(megabytes / seconds, 1), "CPU s/GB": round(cpu, 2), "load": load()})
    return rows


def settled(run):
    """What a film of 200 MB takes beside its transfer: settling, views, reading back, its manifest."""
    source = media.wide("settled.mkv", 4.7)
    megabytes = os.path.getsize(source) / MB
    rows = []
    stage = Stage(run.programs, 4, "--latency-ms", 30, "--bot-mbytes-per-s", 8)
    try:
        stage.attached()
        for number in range(3):
            name = f"film-{number}.mkv"
            shutil.copyfile(source, stage.mnt(name))
            begun = time.monotonic()
            stage.tgfs("status", "--wait", f"/{name}")
            seconds = time.monotonic() - begun
            # Each of its packs of 64 MiB and a little less goes out over one bot.
            transfer = megabytes / math.ceil(megabytes * MB / (64 << 20)) / 8
            rows.append({"MB": round(megabytes), "stored s": round(seconds, 1), "transfer s": round(transfer, 1),
                         "beside it s": round(seconds - transfer, 1), "load": load()})
            rest()
    finally:
        stage.close()
    return rows


def read(run):
    """Cold, through the mount: 8 MB/s a lane, 50 ms, against what all lanes carry together."""
    megabytes = run.film_mb
    rows = []
    with scratch_film(megabytes) as source:
        for bots in (1, 2, 4):
            lanes = bots * 8
            stage = Stage(run.programs, bots, "--latency-ms", 50, "--lane-mbytes-per-s", 8,
                          CACHE_SIZE="256MiB", PRELOAD_SEGMENTS=16)
            try:
                stage.attached()
                store(stage, source, megabytes)
                stage.daemon.stop()
                stage.mount("state")
                time.sleep(3)
                first = timed_reads(stage.mnt("film.bin"), [0], 65536)[0]
                cpu = stage.daemon.cpu()
                begun, total, marks = time.monotonic(), 0, []
                with open(stage.mnt("film.bin"), "rb", buffering=0) as opened:
                    while piece := opened.read(1 << 20):
                        total += len(piece)
                        marks.append((time.monotonic() - begun, total))
                seconds = time.monotonic() - begun
                after_two = [mark for mark in marks if mark[0] >= 2]
                steady = 0.0
                if len(after_two) > 1:
                    (t0, b0), (t1, b1) = after_two[0], after_two[-1]
                    steady = (b1 - b0) / (t1 - t0) / MB
                cpu = (stage.daemon.cpu() - cpu) / (megabytes / 1000)
                stage.tgfs("cache-clear")
                places = random.Random(1).sample(range(megabytes * MB // (64 << 20)), min(8, megabytes * MB // (64 << 20)))
                stage.daemon.stop()
                stage.mount("state")
                time.sleep(3)
                seeks = timed_reads(stage.mnt("film.bin"), [(place * 64 + 17 << 20) + 4096 for place in places], 65536)
            finally:
                stage.close()
            rows.append({"bots": bots, "lanes": lanes, "lanes MB/s": lanes * 8, "read MB/s": round(megabytes / seconds, 1),
                         "after 2 s MB/s": round(steady, 1), "of lanes %": round(100 * steady / (lanes * 8)),
                         "first byte ms": round(first * 1000), "seek ms median": round(statistics.median(seeks) * 1000),
                         "CPU s/GB": round(cpu, 2), "load": load()})
    return rows


def read_stalls(run):
    """Random cold reads while 2 % of calls are never answered."""
    megabytes = run.film_mb
    with scratch_film(megabytes) as source:
        stage = Stage(run.programs, 4, "--latency-ms", 50, "--faults", "stall=2%", "--seed", 3)
        try:
            stage.attached()
            store(stage, source, megabytes)
            stage.daemon.stop()
            stage.mount("state")
            time.sleep(3)
            blocks = megabytes * MB // (512 << 10) - 1
            chosen = random.Random(2).sample(range(blocks), min(400, blocks))
            times = sorted(timed_reads(stage.mnt("film.bin"), [block * (512 << 10) for block in chosen], 4096))
        finally:
            stage.close()
    p50, p99 = times[len(times) // 2], times[len(times) * 99 // 100]
    return [{"reads": len(times), "p50 ms": round(p50 * 1000, 1), "p99 ms": round(p99 * 1000, 1),
             "p99/p50": round(p99 / p50, 1), "slowest ms": round(times[-1] * 1000), "load": load()}]
