"""Listing and stat of many files, against tmpfs and rclone; opening a library of a million."""

import os
import shutil
import signal
import time

from . import peers
from .local import Local, scratch
from .report import load, median

FILES = 10_000
FOLDERS = 100
ROUNDS = 5
NAME = "film-{:06d}.nfo"


def timed(work):
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def fill(directory, files):
    os.makedirs(directory, exist_ok=True)
    for number in range(files):
        with open(os.path.join(directory, NAME.format(number)), "wb") as output:
            output.write(b"x" * 64)


def stat_all(directory, files):
    for number in range(files):
        os.stat(os.path.join(directory, NAME.format(number)))


def long_listing(directory):
    with os.scandir(directory) as entries:
        for entry in entries:
            entry.stat(follow_symlinks=False)


def forget(directory):
    """Empties the kernel's cache of names, not that of pages."""
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as drop:
        drop.write("2")


def names(run):
    """10,000 files in one directory: first listing, listing with attributes, stat from what the kernel knows."""
    peers.need_root("names")
    peers.debian(fusermount3="fuse3")
    directory = scratch()
    held = []
    try:
        plain = os.path.join(directory, "source", "many")
        fill(plain, FILES)
        library = Local(run, directory)
        held.append(library)
        made = timed(lambda: fill(library.mnt("many"), FILES))
        library.tgfs("status", "--wait")
        library.remount()
        rclone = peers.rclone_mount(os.path.dirname(plain), directory)
        held.append(rclone)
        targets = {"tmpfs": plain, "tgfs": library.mnt("many"), "rclone full": os.path.join(rclone.path, "many")}
        cpus = {"tgfs": library.cpu, "rclone full": rclone.cpu}
        figures = {name: {"first": [], "long": [], "stat": [], "cold stat": []} for name in targets}
        spent = dict.fromkeys(targets, 0.0)
        for turn in range(ROUNDS):
            for name, path in targets.items():
                before = cpus[name]() if name in cpus else 0.0
                if turn == 0 or name != "rclone full":
                    forget(path)
                figures[name]["first"].append(timed(lambda path=path: os.listdir(path)))
                forget(path)
                figures[name]["long"].append(timed(lambda path=path: long_listing(path)))
                stat_all(path, FILES)
                figures[name]["stat"].append(timed(lambda path=path: stat_all(path, FILES)))
                if name in cpus:
                    spent[name] += cpus[name]() - before
        rows = []
        for name in targets:
            of = {kind: median(values) for kind, values in figures[name].items() if values}
            rows.append({"what": name, "first listing ms": figures[name]["first"][0] * 1000,
                         "listing ms": of["first"] * 1000, "with attributes ms": of["long"] * 1000,
                         "stat/s": FILES / of["stat"], "x tmpfs": median(figures["tmpfs"]["stat"]) / of["stat"],
                         "CPU s a round": spent[name] / ROUNDS, "load": load()})
        rows[1]["made s"] = made
        return rows
    finally:
        for one in held:
            one.close()
        shutil.rmtree(directory, ignore_errors=True)


def million(run):
    """A library of --files files: how long a start takes, how much memory it needs, what a listing costs."""
    directory = scratch()
    library = None
    try:
        library = Local(run, directory)
        each = max(1, run.files // FOLDERS)
        begun = time.monotonic()
        for folder in range(FOLDERS):
            fill(library.mnt(f"folder-{folder}"), each)
        made = time.monotonic() - begun
        library.tgfs("status", "--wait")
        stored = time.monotonic() - begun
        library.daemon.stop()
        rows = []
        for turn in range(4):
            opened = timed(library.mount)
            idle = library.daemon.rss_mib()
            listed = timed(lambda: os.listdir(library.mnt("folder-7")))
            walked = timed(lambda: [long_listing(library.mnt(f"folder-{folder}")) for folder in range(FOLDERS)])
            rows.append({"files": each * FOLDERS, "after": "a kill" if turn == 3 else "a stop", "made s": made, "stored s": stored, "open s": opened,
                         "memory MiB": idle, "one folder ms": listed * 1000, "all with attributes s": walked,
                         "memory after MiB": library.daemon.rss_mib(), "peak MiB": library.daemon.peak_mib(),
                         "CPU s": library.cpu(), "load": load()})
            # Without a clean stop, every row is read.
            how = signal.SIGKILL if turn == 2 else signal.SIGTERM
            rows[-1]["end s"] = timed(lambda: library.daemon.stop(how))
        return rows
    finally:
        if library:
            library.close()
        shutil.rmtree(directory, ignore_errors=True)
