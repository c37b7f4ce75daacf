"""Warm reads through the mount, against rclone's, a toy FUSE and the memory below."""

import json
import os
import shutil
import subprocess

from . import peers
from .local import Local, scratch
from .report import load, median
from .simulated import film

FILM_MB = 1074
ROUNDS = 3


def fio(path, cpu, *job):
    """One job over a file whose pages the kernel was told to forget; figures of reading it."""
    before = cpu()
    said = subprocess.run(
        ["fio", "--name=x", f"--filename={path}", "--ioengine=psync", "--invalidate=1", "--readonly",
         "--output-format=json", *job], check=True, capture_output=True, text=True).stdout
    spent = cpu() - before
    job = json.loads(said[said.index("{"):])["jobs"][0]
    read = job["read"]
    gib = read["io_bytes"] / 2**30
    reader = (job["usr_cpu"] + job["sys_cpu"]) / 100 * job["job_runtime"] / 1000
    at = read["clat_ns"]["percentile"]
    return {"MB/s": read["bw_bytes"] / 1e6, "p50 us": at["50.000000"] / 1000, "p99 us": at["99.000000"] / 1000,
            "CPU s/GiB": spent / gib, "reader s/GiB": reader / gib}


def mount(run):
    """Warm, through the mount: 1 MiB in sequence, 64 KiB at random; CPU of the server, and of the reader."""
    peers.need_root("mount")
    peers.debian(fio="fio", fusermount3="fuse3")
    directory = scratch()
    open_mounts = []
    try:
        source = os.path.join(directory, "source")
        os.mkdir(source)
        plain = os.path.join(source, "film.bin")
        film(plain, FILM_MB)
        size = os.path.getsize(plain)
        library = Local(run, directory, CACHE_SIZE="2GiB")
        open_mounts.append(library)
        library.store(plain, "film.bin")
        rclone = peers.rclone_mount(source, directory)
        open_mounts.append(rclone)
        toy = peers.toy(run, size, directory)
        open_mounts.append(toy)
        through = peers.toy(run, 4096 + size, directory, backing=plain)
        open_mounts.append(through)
        targets = {"tmpfs": (plain, lambda: 0.0)}
        for name, held in (("tgfs", library), ("toy FUSE", toy), ("rclone full", rclone)):
            below = "mnt" if held is library else os.path.basename(held.path)
            targets[name] = (os.path.join(directory, below, "film.bin"), held.cpu)
        targets["passthrough (toy)"] = (os.path.join(through.path, "film.bin"), through.cpu)
        return rows_of(measure(targets))
    finally:
        for held in open_mounts:
            held.close()
        shutil.rmtree(directory, ignore_errors=True)


def measure(targets):
    """All targets by turns, so that each meets the same load."""
    figures = {name: {"sequence": [], "random": []} for name in targets}
    for path, _ in targets.values():
        subprocess.run(["dd", f"if={path}", "of=/dev/null", "bs=1M", "status=none"], check=True)
    for _ in range(ROUNDS):
        for name, (path, cpu) in targets.items():
            figures[name]["sequence"].append(fio(path, cpu, "--rw=read", "--bs=1M", "--size=1G"))
            figures[name]["random"].append(
                fio(path, cpu, "--rw=randread", "--bs=64k", "--size=1G", "--io_size=128M"))
    return figures


def rows_of(figures):
    def of(name, kind, figure):
        return median([one[figure] for one in figures[name][kind]])
    rows = []
    for name in figures:
        row = {"what": name, "1 MiB MB/s": of(name, "sequence", "MB/s"),
               "CPU s/GiB": of(name, "sequence", "CPU s/GiB"), "reader s/GiB": of(name, "sequence", "reader s/GiB")}
        for other in ("tmpfs", "toy FUSE", "rclone full"):
            row[f"x {other}"] = row["1 MiB MB/s"] / of(other, "sequence", "MB/s")
        row["64 KiB p50 us"] = of(name, "random", "p50 us")
        row["64 KiB p99 us"] = of(name, "random", "p99 us")
        row["p50 x toy"] = row["64 KiB p50 us"] / of("toy FUSE", "random", "p50 us")
        row["load"] = load()
        rows.append(row)
    return rows
