"""kill -9 at random moments; every acknowledged byte has to be there afterwards."""

import hashlib
import os
import random
import subprocess
import threading
import time

from benchmarks import programs

from .site import Service, Site, expect

ROUNDS = 300
SIMULATED_ROUNDS = 40
# Every fault that the simulator knows.
FAULTS = ("flood=5%:1,premium=2%:1,slowmode=3%:1,drop=3%,lostreply=3%,expire=5%,stall=1%,missing=2%,toomany=2%,internal=3%,"
          "timeout=3%,forget=0.2%,signout=0.2%,handshake")
ABSENT = None


def kills(run):
    """The kill tests of the test suite, with more rounds."""
    rounds = run.times(ROUNDS)
    done = subprocess.run(["cargo", "test", "--locked", "--test", "crash", "--", "any_moment", "--test-threads", "1"],
                          cwd=programs.ROOT, env={**os.environ, "TGFS_CRASH_KILLS": str(rounds)}, capture_output=True, text=True)
    expect(done.returncode == 0, done.stdout[-3000:])
    expect(" 0 passed" not in done.stdout.splitlines()[-2], "no test ran")
    return f"{rounds} kills in each test, no acknowledged byte lost"


class Writer(threading.Thread):
    """Writes, replaces, continues, renames and removes files until the mount dies.

    `known` says which digests a name may have afterwards: the one whose close returned; while a rename or a removal is under
    way, also `ABSENT`, no file.
    """

    def __init__(self, site, seed, known):
        super().__init__(daemon=True)
        self.dice, self.seed, self.known, self.bytes = random.Random(seed), seed, known, {}
        # Below this descriptor lies the mount, also when its directory is a plain one again.
        self.mount = os.open(site.mnt(), os.O_RDONLY | os.O_DIRECTORY)
        self.number = 0
        self.start()

    def opener(self, name, flags):
        return os.open(name, flags, 0o644, dir_fd=self.mount)

    def run(self):
        try:
            while True:
                self.step()
                time.sleep(self.dice.random() * 0.3)
        except OSError:
            pass
        finally:
            os.close(self.mount)

    def step(self):
        kinds = [self.create] + ([self.replace, self.append, self.rename, self.remove] if self.bytes else [])
        self.dice.choices(kinds, (10, 2, 2, 3, 1)[:len(kinds)])[0]()

    def some(self):
        return self.dice.choice(sorted(self.bytes))

    def data(self):
        return self.dice.randbytes(self.dice.choice((0, 1, 4000, 300_000, 3_000_000)))

    def put(self, name, mode, data, whole):
        # Until the close returns, a kill may leave any part of it: such a name is not checked.
        self.known.pop(name, None)
        with open(name, mode, buffering=0, opener=self.opener) as file:
            file.write(data)
        self.known[name] = {digest(whole)}
        self.bytes[name] = whole

    def create(self):
        self.number += 1
        data = self.data()
        self.put(f"{self.seed}-{self.number}.bin", "wb", data, data)

    def replace(self):
        name, data = self.some(), self.data()
        self.put(name, "wb", data, data)

    def append(self):
        name, data = self.some(), self.data()
        self.put(name, "ab", data, self.bytes[name] + data)

    def rename(self):
        name = self.some()
        other, data = "renamed-" + name, self.bytes.pop(name)
        self.known[name], self.known[other] = {digest(data), ABSENT}, {digest(data), ABSENT}
        os.rename(name, other, src_dir_fd=self.mount, dst_dir_fd=self.mount)
        self.known[name], self.known[other] = {ABSENT}, {digest(data)}
        if len(other) < 60:
            self.bytes[other] = data

    def remove(self):
        name = self.some()
        self.known[name] = {digest(self.bytes.pop(name)), ABSENT}
        os.unlink(name, dir_fd=self.mount)
        self.known[name] = {ABSENT}


def digest(data):
    return hashlib.sha256(data).hexdigest()


def check(site, known, when):
    for name, allowed in known.items():
        try:
            with open(site.mnt(name), "rb") as file:
                found = digest(file.read())
        except FileNotFoundError:
            found = ABSENT
        expect(found is not ABSENT or ABSENT in allowed, f"{when}: {name} is gone")
        expect(found in allowed, f"{when}: {name} {'is back' if allowed == {ABSENT} else 'has other bytes'}")


def simulated(run):
    """Kills over a simulated Telegram with every fault, which is away for a while, too; at the end another machine reads it
    all."""
    rounds, known = run.times(SIMULATED_ROUNDS), {}
    dice = random.Random(run.seed)
    with Site(run, store=False) as site:
        service = Service(site, run, ["--faults", FAULTS, "--seed", str(run.seed), *(["--framed-status"] if run.seed % 2 else [])])
        try:
            for number in range(rounds):
                site.start()
                check(site, dict(dice.sample(sorted(known.items()), min(20, len(known)))), f"round {number}")
                writers = [Writer(site, run.seed * 10_000 + number * 3 + part, known) for part in range(3)]
                if number % 5 == 4:
                    service.restart(away=dice.uniform(0.1, 3))
                time.sleep(dice.uniform(0.5, 6))
                site.kill()
                for writer in writers:
                    writer.join(timeout=30)
                    expect(not writer.is_alive(), f"round {number}: a write hangs on a dead mount")
            site.start()
            site.wait_stored(600)
            check(site, known, "at the end")
            every_closed_file_is_stored(site, known)
            site.stop()
            other(site, known)
        finally:
            service.stop()
    closed = sum(ABSENT not in allowed for allowed in known.values())
    removed = sum(allowed == {ABSENT} for allowed in known.values())
    return (f"{rounds} kills over a service with {FAULTS.count('=')} kinds of faults, {service.restarts} times away: {closed} closed "
            f"files equal and stored, {removed} names stay removed, also on a second machine")


def every_closed_file_is_stored(site, known):
    states = site.states()
    odd = {name: states.get("/" + name) for name, allowed in known.items()
           if ABSENT not in allowed and states.get("/" + name) != "stored"}
    expect(not odd, f"closed, and not stored at the end: {len(odd)} files, {dict(list(odd.items())[:3])}")


def other(site, known):
    """Another machine with nothing but the settings."""
    site.state = site.path("other")
    site.start()
    expect(os.listdir(site.mnt()), "the second machine shows an empty library")
    check(site, known, "on the second machine")
    site.stop()
