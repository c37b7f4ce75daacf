"""The command line of `scripts/torture`, and the run of the trials that it names."""

import argparse
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass

from benchmarks import programs, report

from . import clients, clock, descriptors, disks, fsx, kills, posix, tools
from .site import Failed

TRIALS = {
    "fsx": fsx.fsx,
    "posix": posix.posix,
    "stress": tools.stress,
    "stored": tools.stored,
    "kills": kills.kills,
    "simulated": kills.simulated,
    "disk-full": disks.full,
    "disk-broken": disks.broken,
    "clock": clock.clock,
    "descriptors": descriptors.descriptors,
    "clients": clients.clients,
}


# From <linux/prctl.h>.
SET_CHILD_SUBREAPER = 36


@dataclass
class Run:
    """What was asked for."""

    programs: str
    seed: int
    scale: float

    def times(self, count):
        """A count of rounds or operations, scaled, at least one."""
        return max(1, round(count * self.scale))


def attempt(trial, run):
    """The row of one trial."""
    begun, before = time.monotonic(), source_tree()
    try:
        said, result = trial(run), "held"
        left = left_behind(before)
        if left:
            said, result = f"{said}; left behind: {left}", "BROKEN"
    except Failed as failure:
        said, result = str(failure), "BROKEN"
    except (SystemExit, OSError, subprocess.SubprocessError, ValueError, KeyError, IndexError):
        said, result = "the trial itself failed: " + traceback.format_exc(limit=3), "BROKEN"
    return {"result": result, "what happened": " ".join(said.split()), "minutes": round((time.monotonic() - begun) / 60, 1)}


def left_behind(before):
    """What a trial that ended well left: processes, mounts, files in the source tree."""
    left = sorted({f"process {name_of(pid)}" for pid in programs.children_of(os.getpid()) if not has_ended(pid)})
    with open("/proc/self/mounts") as mounts:
        left += [f"mount {line.split()[1]}" for line in mounts if "tgfs-torture-" in line]
    return ", ".join(left + [f"file {name}" for name in sorted(source_tree() - before)])


def has_ended(pid):
    """Whether a process is but waited for; then it is."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            if stat.read().rsplit(")", 1)[1].split()[0] != "Z":
                return False
        os.waitpid(pid, os.WNOHANG)
    except OSError:
        pass
    return True


def name_of(pid):
    try:
        with open(f"/proc/{pid}/comm") as comm:
            return comm.read().strip()
    except OSError:
        return str(pid)


def source_tree():
    """Files of the source tree that git does not know."""
    listed = subprocess.run(["git", "ls-files", "--others", "--exclude-standard"], cwd=programs.ROOT, capture_output=True, text=True)
    return set(listed.stdout.splitlines())


def adopt_orphans():
    """Processes whose parents end become children of this one, so that it sees them."""
    ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_in_order(*_):
    raise KeyboardInterrupt


def main(usage):
    parser = argparse.ArgumentParser(description=usage, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", help="directory of built programs (default: builds a release)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--json")
    parser.add_argument("trials", nargs="*", metavar="TRIAL", choices=[*TRIALS, []])
    options = parser.parse_args()
    run = Run(os.path.abspath(options.programs) if options.programs else programs.build(), options.seed, options.scale)
    rows = []
    adopt_orphans()
    signal.signal(signal.SIGTERM, end_in_order)
    print(", ".join(f"{name}: {value}" for name, value in report.machine().items()), f"seed: {run.seed}", flush=True)
    for name in options.trials or TRIALS:
        rows.append({"trial": name} | attempt(TRIALS[name], run))
        print(f"{name}: {rows[-1]['result']}: {rows[-1]['what happened']} ({rows[-1]['minutes']} min)", flush=True)
    print()
    report.table(rows)
    if options.json:
        with open(options.json, "w") as output:
            json.dump({"machine": report.machine(), "trials": rows}, output, indent=1)
    sys.exit(any(row["result"] != "held" for row in rows))
