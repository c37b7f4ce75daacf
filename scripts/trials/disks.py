"""A full disk and a broken disk below the state."""

import errno
import os
import random
import subprocess

from benchmarks import peers, programs

from .site import Site, eventually, expect, need_root

DISK_MIB = 160
ROUNDS = 6
NO_SPACE = os.strerror(errno.ENOSPC)
IO = os.strerror(errno.EIO)


def put(site, name, data, kept):
    """Writes a file; it is kept when no step failed. Returns the error, if any."""
    try:
        with open(site.mnt(name), "wb", buffering=0) as file:
            file.write(data)
            os.fsync(file.fileno())
    except OSError as error:
        return error.strerror
    kept[name] = data
    return None


def same(site, kept, when):
    for name, data in kept.items():
        with open(site.mnt(name), "rb") as file:
            expect(file.read() == data, f"{when}: {name} has other bytes")
    listed = set(os.listdir(site.mnt()))
    expect(kept.keys() <= listed, f"{when}: the listing lacks {sorted(kept.keys() - listed)[:3]}")


def same_or_told(site, kept, when):
    """On a disk that cannot be read a file may answer with an error, and never with other bytes."""
    for name, data in kept.items():
        try:
            with open(site.mnt(name), "rb") as file:
                found = file.read()
        except OSError:
            continue
        expect(found == data, f"{when}: {name} has other bytes")


def all_stored(site, kept):
    site.wait_stored()
    states = site.states()
    odd = {name: states.get("/" + name) for name in kept if states.get("/" + name) != "stored"}
    expect(not odd, f"acknowledged, and not stored at the end: {odd}")


def full(run):
    """Another program fills the disk of state and spool, again and again."""
    need_root("a disk of its own is mounted")
    dice, kept, errors = random.Random(run.seed), {}, set()
    with Site(run, env={"TGFS_SPOOL_RESERVE": "16MiB", "TGFS_WRITE_DEADLINE": "3s"}) as site:
        disk = site.path("disk")
        os.mkdir(disk)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=0700", "none", disk], check=True)
        site.state = os.path.join(disk, "state")
        try:
            site.start()
            for part in range(10):
                errors.add(put(site, f"before-{part}", dice.randbytes(300_000), kept))
            # Names and modes are tried on it; it is not compared while its name may be another one.
            put(site, "name-0", b"name", {})
            site.wait_stored()
            for number in range(run.times(ROUNDS)):
                ballast = os.path.join(disk, "ballast")
                with open(ballast, "wb") as file:
                    space = os.statvfs(disk)
                    os.posix_fallocate(file.fileno(), 0, max(1, space.f_bavail * space.f_frsize - dice.choice((0, 0, 4096, 1 << 20))))
                for part in range(20):
                    errors.add(put(site, f"f{number}-{part}", dice.randbytes(dice.choice((100, 50_000, 2_000_000))), kept))
                errors |= names_change(site, number)
                expect(errors <= {None, NO_SPACE}, f"round {number}: {errors}")
                expect(site.is_alive(), f"round {number}: the daemon ended on a full disk")
                same(site, kept, f"round {number}, while the disk is full")
                if number % 2:
                    site.kill()
                    site.start()
                    same(site, kept, f"round {number}, after a start on the full disk")
                os.unlink(ballast)
                same(site, kept, f"round {number}")
                expect(eventually(lambda: put(site, "after", b"after", kept) is None, 60),
                       f"round {number}: no write succeeds after room was made")
            all_stored(site, kept)
            site.restart()
            same(site, kept, "at the end")
            site.stop()
        finally:
            site.kill()
            subprocess.run(["umount", "-l", disk], check=False)
    told = ", ".join(sorted(filter(None, errors)))
    return f"{run.times(ROUNDS)} times full: {len(kept)} acknowledged files equal and stored at the end, errors were {told}"


def names_change(site, number):
    """Changes of names and modes on a full disk: each ends, and what failed has no effect. Returns the errors."""
    errors = set()
    name = next(name for name in os.listdir(site.mnt()) if name.startswith("name-"))
    for call, done in (
        (lambda: os.mkdir(site.mnt(f"directory-{number}")), lambda: os.path.isdir(site.mnt(f"directory-{number}"))),
        (lambda: os.chmod(site.mnt(name), 0o600 + number), lambda: os.stat(site.mnt(name)).st_mode & 0o777 == 0o600 + number),
        (lambda: os.rename(site.mnt(name), site.mnt(f"name-{number + 1}")), lambda: os.path.exists(site.mnt(f"name-{number + 1}"))),
    ):
        try:
            call()
            has_effect = True
        except OSError as error:
            errors.add(error.strerror)
            has_effect = False
        expect(done() == has_effect, f"round {number}: a change of a name or mode {'failed, and is' if done() else 'is not'} there")
    return errors


def broken(run):
    """The disk of state and spool answers EIO to half of all writes, syncs or reads, for a while."""
    python = peers.python_package("mfusepy==3.1.1")
    dice, kept, errors = random.Random(run.seed), {}, set()
    with Site(run, env={"PYTHONDONTWRITEBYTECODE": "1"}) as site:
        below, disk, switch = site.path("below"), site.path("disk"), site.path("switch")
        os.mkdir(below, 0o700)
        os.mkdir(disk)
        set_switch(switch, "none")
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "broken_disk.py")
        layer = programs.Program([python, script, below, disk, switch], site.path("disk.log"), ready=False)
        try:
            expect(eventually(lambda: os.path.ismount(disk), 20), f"no disk: {open(site.path('disk.log')).read()}")
            site.state = os.path.join(disk, "state")
            for number, what in enumerate(("writes", "sync", "reads", "all") * run.times(2)):
                site.start()
                same(site, kept, f"round {number}")
                set_switch(switch, what)
                for part in range(15):
                    errors.add(put(site, f"f{number}-{part}", dice.randbytes(dice.choice((100, 50_000, 2_000_000))), kept))
                same_or_told(site, kept, f"round {number}, {what}")
                expect(site.is_alive(), f"round {number}: the daemon ended under {what}")
                if dice.random() < 0.5:
                    site.kill()
                    set_switch(switch, "none")
                else:
                    set_switch(switch, "none")
                    site.daemon.child.terminate()
                    site.daemon.child.wait(timeout=60)
                    site.kill()
            site.start()
            same(site, kept, "at the end")
            expect(put(site, "after", b"after", kept) is None, "no write succeeds on the mended disk")
            all_stored(site, kept)
            site.restart()
            same(site, kept, "stored")
            site.stop()
        finally:
            site.kill()
            set_switch(switch, "none")
            programs.unmount(disk)
            layer.stop()
    told = ", ".join(sorted(filter(None, errors)))
    return f"{4 * run.times(2)} rounds: {len(kept)} acknowledged files equal and stored at the end, errors were {told}"


def set_switch(path, word):
    with open(path + ".new", "w") as file:
        file.write(word)
    os.rename(path + ".new", path)
