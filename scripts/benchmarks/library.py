"""Many files, and a library from nothing, over the simulated Telegram."""

import json
import os
import time

from .report import load
from .simulated import Stage


def remote_packs(stage):
    stats = json.loads(stage.tgfs("--json", "db-stats").stdout)
    rows = stats.get("stats", stats) if isinstance(stats, dict) else stats
    return next(row["value"] for row in rows if row["part"] == "remote" and row["name"] == "packs")


def tree_of(stage, folders, files, size):
    """Makes many files and waits until all are stored; seconds of both."""
    begun = time.monotonic()
    for folder in range(folders):
        os.mkdir(stage.mnt(f"folder-{folder}"))
        for number in range(files):
            with open(stage.mnt(f"folder-{folder}/{number}.bin"), "wb") as output:
                output.write(os.urandom(size))
    copied = time.monotonic() - begun
    stage.tgfs("status", "--wait")
    return copied, time.monotonic() - begun


def recover(run):
    """A fresh state from nothing but the settings: 10,000 files, 50 ms away."""
    stage = Stage(run.programs, 4, "--latency-ms", 50, "--messages-per-minute", 0, TGFS_PACE="fast")
    try:
        stage.attached()
        tree_of(stage, 100, 100, 20_000)
        packs = remote_packs(stage)
        stage.daemon.stop()
        stage.state = stage.path("fresh")
        begun = time.monotonic()
        stage.tgfs("recover")
        seconds = time.monotonic() - begun
        stage.mount("fresh")
        files = sum(len(os.listdir(stage.mnt(f"folder-{folder}"))) for folder in range(100))
    finally:
        stage.close()
    return [{"files": files, "packs": packs, "seconds": round(seconds, 1), "load": load()}]


def small(run):
    """10,000 files of 4 KiB, at the usual pace."""
    stage = Stage(run.programs, 4, "--latency-ms", 30)
    try:
        stage.attached()
        copied, seconds = tree_of(stage, 100, 100, 4096)
        packs = remote_packs(stage)
    finally:
        stage.close()
    return [{"copied s": round(copied, 1), "stored s": round(seconds, 1), "packs": packs, "load": load()}]
