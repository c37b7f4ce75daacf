"""A film on its way in, against the ten-pass rule of the older system.

The rule: cut the whole film at ten durations, one full copy after the other, count the pieces above 15 MiB each
time, and keep the try with the fewest. tgfs decides from the packets' sizes, and maps in one pass without writing.
"""

import os
import shutil
import subprocess
import threading
import time

from . import media
from .local import Local, scratch
from .programs import children_of
from .report import load, median

DURATIONS = (30, 25, 20, 15, 10, 8, 6, 5, 3, 2)
LARGEST_PIECE = 15 << 20
ROUNDS = 3
# Until the views of a film are there.
PATIENCE = 900


def ten_passes(source, directory):
    """The control, written anew from the rule; seconds, CPU seconds, bytes written."""
    before, begun, written = os.times(), time.monotonic(), 0
    best = None
    for seconds in DURATIONS:
        attempt = os.path.join(directory, "try")
        shutil.rmtree(attempt, ignore_errors=True)
        os.mkdir(attempt)
        subprocess.run(
            ["ffmpeg", "-v", "error", "-nostdin", "-i", source, "-map", "0:v:0", "-map", "0:a?", "-c", "copy", "-f",
             "segment", "-segment_time", str(seconds), "-reset_timestamps", "0", os.path.join(attempt, "%05d.ts")],
            check=True)
        sizes = [entry.stat().st_size for entry in os.scandir(attempt)]
        written += sum(sizes)
        over = sum(size > LARGEST_PIECE for size in sizes)
        if best is None or over < best:
            best = over
    shutil.rmtree(attempt)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.monotonic() - begun, cpu, written


class Written(threading.Thread):
    """Watches what media tools below a daemon write to a disk, in bytes; pipes are none."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.seen, self.over = pid, {}, threading.Event()
        self.start()

    def run(self):
        while not self.over.wait(0.05):
            for child in children_of(self.pid):
                try:
                    with open(f"/proc/{child}/io") as counters:
                        self.seen[child] = int(next(line for line in counters if line.startswith("write_bytes")).split()[1])
                except (OSError, StopIteration):
                    pass

    def end(self):
        self.over.set()
        self.join()
        return sum(self.seen.values())


def mapped(run, source, directory):
    """Copies a film in; seconds from its last close until its views are there (the settle time taken off), CPU
    seconds of daemon and tools, what lies in the store and what the tools wrote."""
    # In memory the store is only renamed; what is measured is probe, plan and map beside it.
    library = Local(run, directory, TGFS_SETTLE="0s")
    try:
        shutil.copyfile(source, library.mnt("film.mkv"))
        cpu = library.cpu()
        watched = Written(library.daemon.pid)
        begun = time.monotonic()
        views = library.mnt(".hls/film.mkv/master.m3u8")
        while not os.path.exists(views):
            if time.monotonic() - begun > PATIENCE:
                raise SystemExit("bench: the film got no views")
            time.sleep(0.02)
        seconds = time.monotonic() - begun
        spent = library.cpu() - cpu
        library.tgfs("status", "--wait")
        stored = time.monotonic() - begun
        kept = sum(os.path.getsize(os.path.join(folder, name))
                   for folder, _, names in os.walk(library.path("store")) for name in names)
        return {"seconds": seconds, "CPU s": spent, "stored": stored, "tools wrote": watched.end(),
                "beside the film %": 100 * (kept / os.path.getsize(source) - 1)}
    finally:
        library.close()


def ingest(run):
    """A film of --ingest-mb from its close until it is planned and mapped, against ten copy passes over it."""
    # Spool and store, or one of the ten copies.
    directory = scratch(room=3 * run.ingest_mb * 1_000_000)
    try:
        source = media.wide(f"ingest-{run.ingest_mb}.mkv", run.ingest_mb / 43)
        gib = os.path.getsize(source) / 2**30
        with open(source, "rb") as warm:
            while warm.read(1 << 22):
                pass
        ours, passes = [], []
        for turn in range(ROUNDS):
            place = os.path.join(directory, str(turn))
            os.mkdir(place)
            ours.append(mapped(run, source, place))
            shutil.rmtree(place)
            if turn == 0 or gib < 2:
                passes.append(ten_passes(source, directory))
        def of(figure):
            return median([one[figure] for one in ours])
        control = [median(values) for values in zip(*passes)]
        return [
            {"what": "tgfs", "GiB": gib, "mapped s": of("seconds"), "stored s": of("stored"),
             "CPU s/GiB": of("CPU s") / gib, "tools wrote MiB": of("tools wrote") / 2**20,
             "store beside the film %": of("beside the film %"), "times as fast": control[0] / of("seconds"), "load": load()},
            {"what": "ten passes", "GiB": gib, "mapped s": control[0], "CPU s/GiB": control[1] / gib,
             "tools wrote MiB": control[2] / 2**20, "times as fast": 1.0, "load": load()},
        ]
    finally:
        shutil.rmtree(directory, ignore_errors=True)
