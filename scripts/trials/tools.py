"""stress-ng and fio on the mount."""

import os
import shutil
import signal
import subprocess
import tempfile

from benchmarks import peers

from .site import Failed, Site, expect

# File stressors of stress-ng that work on any file system, and end by themselves. Not `resources`: it fills the disk of the
# whole machine.
STRESSORS = (
    "access aio aiol chattr chdir chmod chown close copy-file dentry dir dirdeep dirmany dnotify dup dynlib fallocate fanotify "
    "fault fcntl fiemap file-ioctl filename flock fpunch fsize fstat getdent handle hdd inode-flags inotify io iomix lease locka "
    "lockf lockofd mmap mmapfork mmapmany msync open readahead rename revio seek sendfile splice sync-file tee touch "
    "utime vm-splice xattr"
).split()
SECONDS = 4
INSTANCES = 2
# Sizes below stress-ng's own, so that spool and memory hold them.
SIZES = {"hdd": "64M", "iomix": "32M", "fallocate": "64M", "copy-file": "128M", "readahead": "16M", "sync-file": "16M"}
USAGE = 1
SKIPPED = ("skipping stressor", "not supported", "skipped:")


class Outcome:
    """How a stressor ended: its code (0 done, 2 failed, 3 and above not possible here), and what it left out."""

    def __init__(self, code, said):
        self.code = code
        self.skipped = any(word in line for line in said.splitlines() for word in SKIPPED)
        self.last = next((line for line in said.splitlines() if "fail" in line or "error" in line), said[-200:])

    def is_as(self, control):
        """Whether it did here what it did there: nothing fails here alone, nothing is left out here alone."""
        return self.code in (0, control.code) and self.skipped <= control.skipped


def outcome(stressor, directory, seconds):
    command = ["stress-ng", f"--{stressor}", str(INSTANCES), "--timeout", str(seconds), "--temp-path", directory, "--verify"]
    if stressor in SIZES:
        command += [f"--{stressor}-bytes", SIZES[stressor]]
    # Stressors are processes of their own: the group ends them all.
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                             cwd=directory, start_new_session=True)
    try:
        said, _ = child.communicate(timeout=seconds * 20 + 60)
    except subprocess.TimeoutExpired as error:
        os.killpg(child.pid, signal.SIGKILL)
        raise Failed(f"{stressor} of {seconds} s does not end") from error
    return Outcome(child.returncode, said)


def stress(run):
    peers.debian(**{"stress-ng": "stress-ng"})
    seconds, equal, odd = run.times(SECONDS), 0, []
    with Site(run) as site, tempfile.TemporaryDirectory(dir="/dev/shm") as control:
        site.start()
        os.mkdir(site.mnt("stress"))
        for stressor in STRESSORS:
            here, there = outcome(stressor, site.mnt("stress"), seconds), outcome(stressor, control, 1)
            expect(USAGE not in (here.code, there.code), f"stress-ng does not know {stressor}: {there.last}")
            if here.is_as(there):
                equal += 1
            else:
                odd.append(f"{stressor} {there.code} -> {here.code}: {here.last}")
            expect(site.is_alive(), f"the daemon ended under {stressor} with {site.daemon.child.poll()}")
            for name in os.listdir(site.mnt("stress")):
                shutil.rmtree(site.mnt("stress", name), ignore_errors=True)
        with open(site.mnt("after"), "wb") as file:
            file.write(b"after")
        site.wait_stored()
        expect(sorted(os.listdir(site.mnt("stress"))) == [], f"left: {os.listdir(site.mnt('stress'))[:5]}")
        site.restart()
        with open(site.mnt("after"), "rb") as file:
            expect(file.read() == b"after", "a file written afterwards has other bytes")
        site.stop()
    expect(not odd, f"otherwise than on tmpfs: {'; '.join(odd)}")
    return f"{equal} stressors, {INSTANCES} instances of {seconds} s each, end as on tmpfs"


FIO = ["fio", "--name=verify", "--rw=randwrite", "--bsrange=512-256k", "--ioengine=psync", "--nrfiles=4", "--verify=crc32c",
       "--verify_fatal=1", "--verify_state_save=0", "--randrepeat=1", "--filesize=32M", "--size=128M", "--fallocate=none"]


def stored(run):
    """Each round writes files, and writes over them in another order when they are stored."""
    peers.debian(fio="fio")
    rounds = run.times(10)
    with Site(run) as site:
        site.start()
        for number in range(rounds):
            name = f"fio-{number}"
            os.mkdir(site.mnt(name))
            for part, what in enumerate(("written", "written over")):
                arguments = [*FIO, f"--directory={site.mnt(name)}", f"--randseed={2 * (run.seed + number) + part}"]
                fio([*arguments, "--do_verify=0"], site, f"round {number}, {what}")
                site.wait_stored()
                site.restart()
                states = site.states(f"/{name}")
                expect(len(states) == 4 and set(states.values()) == {"stored"}, f"round {number}, {what}: not stored: {states}")
                fio([*arguments, "--verify_only=1"], site, f"round {number}, {what}, read back")
        site.stop()
    return (f"{rounds} times 128 MiB in blocks of 512 bytes to 256 KiB in random order, and again over the stored files: "
            "each stored copy verified after a restart")


def fio(arguments, site, when):
    # fio leaves files where it is started.
    done = subprocess.run(arguments, capture_output=True, text=True, errors="replace", cwd=site.dir)
    expect(done.returncode == 0, f"{when}: {done.stderr[-800:] or done.stdout[-800:]}")
