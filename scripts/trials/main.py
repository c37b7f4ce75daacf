"""The command line of `scripts/torture`, and the run of the trials that it names."""

import argparse
import json
import os
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
    begun = time.monotonic()
    try:
        said, result = trial(run), "held"
    except Failed as failure:
        said, result = str(failure), "BROKEN"
    except (SystemExit, OSError, subprocess.SubprocessError, ValueError, KeyError, IndexError):
        said, result = "the trial itself failed: " + traceback.format_exc(limit=3), "BROKEN"
    return {"result": result, "what happened": " ".join(said.split()), "minutes": round((time.monotonic() - begun) / 60, 1)}


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
