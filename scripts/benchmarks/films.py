"""What films cost: an hour of film on its way in, MPEG-TS as it is read, all views together, the planner."""

import json
import os
import shutil
import subprocess
import tempfile
import time

from . import media, peers
from .ingest import mapped
from .local import Local, fetch, hls_of, scratch, slug_of
from .report import load, median

ROUNDS = 3
# A film above this, in bytes, is taken in once less: it takes minutes.
LARGE = 2 << 30
# 6 GB an hour.
HOUR_BITS = 13_200_000
# Megabytes a minute of that and its sound.
HOUR_MB_A_MINUTE = 100
# Of a film that does not repeat, so that its map does not shrink more than a real one's.
UNREPEATED_SECONDS = 300
GROUPS = 10_000
# Reading in circles.
SECONDS = 5


def timed(arguments):
    begun = time.monotonic()
    subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begun


def hour(run):
    """A film of --hour-mb (6000: an hour) from its close until it is mapped, against `cat` of the file and one
    remux by ffmpeg, together: into nothing, and into a file."""
    peers.debian(ffmpeg="ffmpeg")
    base = media.base("dense-base.mkv", media.BASE_SECONDS, HOUR_BITS, "640x360")
    times = max(1, round(run.hour_mb / HOUR_MB_A_MINUTE * 60 / media.BASE_SECONDS))
    source = media.repeated(f"dense-{run.hour_mb}.mkv", base, times)
    size = os.path.getsize(source)
    # On the disk: spool and store of an hour do not fit into memory beside the file that is read.
    directory = scratch(room=3 * size) if size < LARGE else tempfile.mkdtemp(prefix="tgfs-bench-", dir=os.environ.get("TMPDIR"))
    try:
        remux = ["ffmpeg", "-v", "error", "-nostdin", "-y", "-i", source, "-map", "0", "-c", "copy", "-f", "mp4", "-movflags",
                 "+frag_keyframe+empty_moov"]
        ours, cats, pipes, files = [], [], [], []
        subprocess.run(["cat", source], check=True, stdout=subprocess.DEVNULL)
        for turn in range(ROUNDS if size < LARGE else ROUNDS - 1):
            cats.append(timed(["cat", source]))
            pipes.append(timed([*remux, "/dev/null"]))
            files.append(timed([*remux, os.path.join(directory, "remux.mp4")]))
            os.remove(os.path.join(directory, "remux.mp4"))
            place = os.path.join(directory, str(turn))
            os.mkdir(place)
            ours.append(mapped(run, source, place))
            shutil.rmtree(place)
        seconds = median([one["seconds"] for one in ours])
        control = [median(cats) + median(way) for way in (pipes, files)]
        return [{"GB": size / 1e9, "mapped s": seconds, "stored s": median([one["stored"] for one in ours]),
                 "CPU s/GB": median([one["CPU s"] for one in ours]) / (size / 1e9), "cat s": median(cats),
                 "remux to nothing s": median(pipes), "remux to a file s": median(files), "x cat and remux": seconds / control[0],
                 "x with a file": seconds / control[1], "load": load()}]
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def circles(arguments, size, library):
    """Reads the same bytes again and again; MB/s, and MB for each second of the daemon's CPU."""
    subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)
    before, begun, rounds = library.daemon.cpu(), time.monotonic(), 0
    while time.monotonic() - begun < SECONDS:
        subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)
        rounds += 1
    seconds, cpu = time.monotonic() - begun, library.daemon.cpu() - before
    return {"MB/s": size * rounds / 1e6 / seconds, "MB/s a core": size * rounds / 1e6 / max(cpu, 1e-9), "load": load()}


def ts_read(run):
    """Segments of MPEG-TS out of a warm cache, muxed as they are read, by curl and through the mount; their MB for
    each second of the daemon's CPU. Of a Matroska, and of a film that is a transport stream."""
    peers.debian(ffmpeg="ffmpeg", curl="curl")
    film = media.wide("ts.mkv", 4)
    remuxed = media.kept("ts.ts", lambda path: media.ffmpeg("-i", film, "-map", 0, "-c", "copy", "-f", "mpegts", path))
    rows = []
    for name, source in (("Matroska", film), ("MPEG-TS", remuxed)):
        directory = scratch()
        library = Local(run, directory, CACHE_SIZE="1GiB", TGFS_SETTLE="0s")
        try:
            inside = os.path.basename(source)
            library.store(source, inside)
            lists = hls_of(library.url, slug_of(library.url, f"/{inside}"), "?container=ts")
            addresses = [address for address, _ in lists["video"]]
            size = sum(len(fetch(address)) for address in addresses)
            config = os.path.join(directory, "addresses")
            with open(config, "w") as output:
                output.writelines(f'url = "{address}"\noutput = "/dev/null"\n' for address in addresses)
            rows.append({"source": name, "read by": "HTTP"} | circles(["curl", "-sf", "-K", config], size, library))
            folder = library.mnt(f".hls/{inside}/ts/video")
            files = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
            rows.append({"source": name, "read by": "mount"} | circles(["cat", *files], size, library))
        finally:
            library.close()
            shutil.rmtree(directory, ignore_errors=True)
    return rows


def views(run):
    """What all views of a mapped film take in the store beside its audio tracks, of the film's bytes: the map, its
    headers and the picture. Of five minutes that do not repeat."""
    peers.debian(ffmpeg="ffmpeg")
    film = media.base("unrepeated.mkv", UNREPEATED_SECONDS, HOUR_BITS, "640x360")
    said = subprocess.run([f"{run.programs}/tgfs", "plan", "--json", film], check=True, capture_output=True, text=True)
    plan = json.loads(said.stdout)
    plan = plan[0] if isinstance(plan, list) else plan
    sound = sum(track["derived"] for track in plan["tracks"] if track["kind"].startswith("audio"))
    picture = [track for track in plan["tracks"] if track["kind"].startswith("video")]
    beside = plan["derived_bytes"] - sound
    return [{"MB": plan["size"] / 1e6, "video mapped %": 100 * sum(track["mapped"] for track in picture) /
             sum(track["mapped"] + track["derived"] for track in picture), "audio MB": sound / 1e6,
             "views KB": beside / 1e3, "views % of the film": 100 * beside / plan["size"]}]


def planner(run):
    """Choosing the cuts of a film of 10,000 groups of pictures."""
    program = os.path.join(run.programs, "examples", "plan_time")
    said = subprocess.run([program, str(GROUPS)], check=True, capture_output=True, text=True).stdout
    count, segments, millis = said.split()
    return [{"groups": int(count), "segments": int(segments), "ms": float(millis), "load": load()}]
