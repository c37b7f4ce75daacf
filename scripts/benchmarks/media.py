"""Films to measure with, made by ffmpeg once and kept. Pictures are generated; nothing is downloaded."""

import os
import subprocess

from .peers import TOOLS, debian

FILMS = os.path.join(TOOLS, "films")
# The film of the gateway: a key frame each 6 s, 4 MiB between two.
SEGMENT_SECONDS = 6
SEGMENT_BITS = 5_592_405
BASE_SECONDS = 66


def ffmpeg(*arguments):
    subprocess.run(["ffmpeg", "-hide_banner", "-nostdin", "-loglevel", "error", "-y", *map(str, arguments)], check=True)


def kept(name, make):
    """The film of that name, which is whole when it exists."""
    debian(ffmpeg="ffmpeg")
    path = os.path.join(FILMS, name)
    if not os.path.exists(path):
        os.makedirs(FILMS, exist_ok=True)
        half = os.path.join(FILMS, f"half-{os.getpid()}-{name}")
        make(half)
        os.rename(half, path)
    return path


def base(name, seconds, bits, size):
    """A short film of noise at one rate, with a tone; longer ones repeat it."""
    def make(path):
        ffmpeg("-f", "lavfi", "-i", f"testsrc2=s={size}:r=24:d={seconds},noise=alls=25:allf=t:all_seed=1",
               "-f", "lavfi", "-i", f"aevalsrc=0.3*sin(2*PI*440*t)|0.3*sin(2*PI*445*t):s=48000:d={seconds}",
               "-c:v", "libx264", "-preset", "superfast", "-threads", 2, "-b:v", bits, "-minrate", bits,
               "-maxrate", bits, "-bufsize", bits, "-x264-params", "nal-hrd=cbr", "-g", 24 * SEGMENT_SECONDS,
               "-keyint_min", 24 * SEGMENT_SECONDS, "-sc_threshold", 0, "-c:a", "aac", "-b:a", "96k", path)
    return kept(name, make)


def repeated(name, source, times):
    return kept(name, lambda path: ffmpeg("-stream_loop", times - 1, "-i", source, "-map", 0, "-c", "copy", path))


def wide(name, minutes):
    """A film of about 5.7 Mbit/s: 43 MB a minute."""
    source = base("wide-base.mkv", BASE_SECONDS, SEGMENT_BITS, "640x360")
    return repeated(name, source, max(1, round(minutes * 60 / BASE_SECONDS)))


def hour(name):
    """A film of one hour, of 360 MB; the suffix says which container."""
    return repeated(name, base("slim-base.mkv", 60, 700_000, "320x180"), 60)


def shelf(count, directory):
    """Short films that differ from each other, 0.4 MB each."""
    source = base("short-base.mkv", 6, 400_000, "320x180")
    paths = []
    os.makedirs(directory, exist_ok=True)
    for number in range(count):
        path = os.path.join(directory, f"film-{number:04d}.mkv")
        ffmpeg("-i", source, "-map", 0, "-c", "copy", "-metadata", f"title=Film {number}", path)
        paths.append(path)
    return paths
