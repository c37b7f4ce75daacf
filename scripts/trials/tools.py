"""stress-ng and fio on the mount."""

import os
import shutil
import subprocess
import tempfile

from benchmarks import peers

from .site import Site, expect

# File stressors of stress-ng that work on any file system, and end by themselves.
STRESSORS = (
    "access chattr chdir chmod chown close copy-file dentry dir dirdeep dirmany dup dynlib fallocate fault fcntl fiemap "
    "filename flock fpunch fstat getdent hdd inotify io iomix lease locka lockf lockofd mmap mmapfork msync open readahead "
    "rename resources seek sendfile splice sync-file tee touch utime vm-splice xattr"
).split()
SECONDS = 4


# Sizes below stress-ng's own, so that spool and memory hold them.
SIZES = {"hdd": "64M", "iomix": "32M", "fallocate": "64M", "copy-file": "128M", "readahead": "16M", "sync-file": "16M"}
USAGE = 1


def outcome(stressor, directory, seconds):
    """How a stressor ends: 0 done, 2 failed, 3 and above not possible here."""
    command = ["stress-ng", f"--{stressor}", "1", "--timeout", str(seconds), "--temp-path", directory, "--verify"]
    if stressor in SIZES:
        command += [f"--{stressor}-bytes", SIZES[stressor]]
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds * 20 + 60)


def stress(run):
    peers.debian(**{"stress-ng": "stress-ng"})
    seconds, equal, odd = run.times(SECONDS), 0, []
    with Site(run) as site, tempfile.TemporaryDirectory(dir="/dev/shm") as control:
        site.start()
        os.mkdir(site.mnt("stress"))
        for stressor in STRESSORS:
            here, there = outcome(stressor, site.mnt("stress"), seconds), outcome(stressor, control, 1)
            expect(USAGE not in (here.returncode, there.returncode), f"stress-ng does not know {stressor}: {there.stderr}")
            if here.returncode == there.returncode or here.returncode == 0:
                equal += 1
            else:
                odd.append(f"{stressor} {there.returncode} -> {here.returncode}: {here.stderr.strip().splitlines()[-1:]}")
            expect(site.is_alive(), f"the daemon ended under {stressor}")
            for name in os.listdir(site.mnt("stress")):
                shutil.rmtree(site.mnt("stress", name), ignore_errors=True)
        site.wait_stored()
    expect(not odd, f"otherwise than on tmpfs: {'; '.join(odd)}")
    return f"{equal} stressors of {seconds} s each end as on tmpfs"


FIO = ["--name=verify", "--rw=randwrite", "--bs=4k-256k", "--bs_unaligned=1", "--ioengine=psync", "--nrfiles=4",
       "--verify=crc32c", "--verify_fatal=1", "--randrepeat=1", "--filesize=32M", "--size=128M", "--fallocate=none"]


def stored(run):
    peers.debian(fio="fio")
    rounds = run.times(10)
    with Site(run) as site:
        site.start()
        for number in range(rounds):
            directory = site.mnt(f"fio-{number}")
            os.mkdir(directory)
            arguments = ["fio", *FIO, f"--directory={directory}", f"--randseed={run.seed + number}"]
            written = subprocess.run([*arguments, "--do_verify=0"], capture_output=True, text=True)
            expect(written.returncode == 0, f"round {number}, writing: {written.stderr or written.stdout}")
            site.wait_stored()
            site.restart()
            states = site.tgfs("list", "--json", f"/fio-{number}").stdout
            expect('"state": "stored"' in states and "spooled" not in states, f"round {number}: not stored: {states}")
            verified = subprocess.run([*arguments, "--verify_only=1"], capture_output=True, text=True)
            expect(verified.returncode == 0, f"round {number}, verifying: {verified.stderr or verified.stdout}")
    return f"{rounds} rounds of 128 MB in blocks of 4 to 256 KiB, unaligned: each stored copy verified after a restart"
