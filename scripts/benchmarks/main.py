"""The command line, and the run of the lines it names."""

import argparse
import datetime
import json
import os
import sys
from dataclasses import dataclass, field

from . import films, gateway, ingest, library, memory, mount, names, players, probes, programs, report, telegram

TELEGRAM = {"upload": telegram.upload, "upload-free": telegram.upload_free, "settled": telegram.settled, "read": telegram.read,
            "read-stalls": telegram.read_stalls, "recover": library.recover, "small": library.small}
READING = {"mount": mount.mount, "names": names.names, "gateway": gateway.gateway, "players": players.players,
           "ingest": ingest.ingest, "probe": probes.probe, "scan": probes.scan, "start": probes.start,
           "memory": memory.memory}
MEDIA = {"hour": films.hour, "ts-read": films.ts_read, "views": films.views, "planner": films.planner}
# Takes long, and is run by name.
APART = {"million": names.million}
GROUPS = {"reading": READING, "telegram": TELEGRAM, "media": MEDIA}
LINES = {**READING, **TELEGRAM, **MEDIA, **APART}


@dataclass
class Run:
    """What was asked for."""

    programs: str
    film_mb: int
    files: int
    films: int
    ingest_mb: int
    hour_mb: int
    bots: list = field(default_factory=lambda: list(range(1, 11)))


def chosen(parser, names):
    """The lines behind names of lines and of groups, each once."""
    lines = []
    for name in names or ["reading"]:
        if name not in LINES and name not in GROUPS and name != "all":
            parser.error(f"no such line: {name}; known: {', '.join([*GROUPS, 'all', *LINES])}")
        lines += LINES if name == "all" else GROUPS.get(name, [name])
    return list(dict.fromkeys(lines))


def main(usage):
    parser = argparse.ArgumentParser(description=usage, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--film-mb", type=int, default=1024)
    parser.add_argument("--bots", help="numbers of bots for `upload`, e.g. 1,4,8 (default: 1 to 10)")
    parser.add_argument("--files", type=int, default=1_000_000, help="of the library of `million`")
    parser.add_argument("--films", type=int, default=100, help="of the shelf of `scan`")
    parser.add_argument("--ingest-mb", type=int, default=1000, help="size of the film of `ingest`")
    parser.add_argument("--hour-mb", type=int, default=6000, help="size of the film of `hour`")
    parser.add_argument("--json")
    parser.add_argument("--programs", help="directory of built programs (default: builds a release)")
    parser.add_argument("lines", nargs="*", metavar="LINE", default=[])
    options = parser.parse_args()
    lines = chosen(parser, options.lines)
    run = Run(programs=os.path.abspath(options.programs) if options.programs else programs.build(),
              film_mb=options.film_mb, files=options.files, films=options.films, ingest_mb=options.ingest_mb, hour_mb=options.hour_mb)
    if options.bots:
        run.bots = [int(number) for number in options.bots.split(",")]
    results = {"machine": report.machine() | {"begun": datetime.datetime.now().isoformat(timespec="seconds")}}
    print(", ".join(f"{name}: {value}" for name, value in results["machine"].items()))
    for name in lines:
        print(f"\n## {name}\n{LINES[name].__doc__}\n", flush=True)
        results[name] = LINES[name](run)
        report.table(results[name])
        sys.stdout.flush()
    if options.json:
        with open(options.json, "w") as output:
            json.dump(results, output, indent=1)
