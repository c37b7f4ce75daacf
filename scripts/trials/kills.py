"""kill -9 at random moments; every acknowledged byte has to be there afterwards."""

import hashlib
import os
import random
import subprocess
import threading
import time

from benchmarks import programs

from .site import Failed, Site, expect

ROUNDS = 300
SIMULATED_ROUNDS = 40
FAULTS = ("flood=5%:1,premium=2%:1,slowmode=3%:1,drop=3%,lostreply=3%,expire=5%,stall=1%,missing=2%,toomany=2%,internal=3%,"
          "timeout=3%")


def kills(run):
    """The kill tests of the test suite, with more rounds."""
    rounds = run.times(ROUNDS)
    done = subprocess.run(["cargo", "test", "--locked", "--test", "crash", "--", "any_moment", "--test-threads", "1"],
                          cwd=programs.ROOT, env={**os.environ, "TGFS_CRASH_KILLS": str(rounds)}, capture_output=True, text=True)
    expect(done.returncode == 0, done.stdout[-3000:])
    expect(" 0 passed" not in done.stdout.splitlines()[-2], "no test ran")
    return f"{rounds} kills in each test, no acknowledged byte lost"


class Writer(threading.Thread):
    """Writes files of random sizes until the mount dies; remembers those whose close returned."""

    def __init__(self, site, seed, closed):
        super().__init__(daemon=True)
        self.dice, self.seed, self.closed = random.Random(seed), seed, closed
        # Below this descriptor lies the mount, also when its directory is a plain one again.
        self.mount = os.open(site.mnt(), os.O_RDONLY | os.O_DIRECTORY)
        self.start()

    def opener(self, name, flags):
        return os.open(name, flags, 0o644, dir_fd=self.mount)

    def run(self):
        number = 0
        while True:
            name = f"{self.seed}-{number}.bin"
            data = self.dice.randbytes(self.dice.choice((0, 1, 4000, 300_000, 3_000_000)))
            number += 1
            try:
                with open(name, "wb", buffering=0, opener=self.opener) as file:
                    file.write(data)
                if self.dice.random() < 0.2:
                    os.rename(name, "renamed-" + name, src_dir_fd=self.mount, dst_dir_fd=self.mount)
                    name = "renamed-" + name
            except OSError:
                os.close(self.mount)
                return
            self.closed[name] = hashlib.sha256(data).hexdigest()
            time.sleep(self.dice.random() * 0.3)


def check(site, closed, when):
    for name, digest in closed.items():
        try:
            with open(site.mnt(name), "rb") as file:
                found = hashlib.sha256(file.read()).hexdigest()
        except FileNotFoundError:
            # A rename that was under way may have happened.
            expect(os.path.exists(site.mnt("renamed-" + name)), f"{when}: {name} is gone")
            continue
        expect(found == digest, f"{when}: {name} has other bytes")


def simulated(run):
    """Kills over a simulated Telegram with every fault; at the end another machine reads it all."""
    rounds, closed = run.times(SIMULATED_ROUNDS), {}
    dice = random.Random(run.seed)
    with Site(run, store=False) as site:
        env = site.path("env")
        service = programs.Program(
            [f"{run.programs}/telegram-sim", "--listen", "127.0.0.1:0", "--bots", "3", "--messages-per-minute", "0",
             "--write-env", env, "--faults", FAULTS, "--seed", str(run.seed)], site.path("service.log"))
        try:
            site.extra = ["--env-file", env]
            for number in range(rounds):
                site.start()
                check_some = dict(dice.sample(sorted(closed.items()), min(20, len(closed))))
                check(site, check_some, f"round {number}")
                writers = [Writer(site, run.seed * 10_000 + number * 3 + part, closed) for part in range(3)]
                time.sleep(dice.uniform(0.5, 6))
                site.kill()
                for writer in writers:
                    writer.join(timeout=30)
                    expect(not writer.is_alive(), f"round {number}: a write hangs on a dead mount")
            site.start()
            done = site.wait_stored(600)
            check(site, closed, "at the end")
            site.stop()
            other(site, closed)
        finally:
            service.stop()
    return f"{rounds} kills over a service with {FAULTS.count('=')} kinds of faults, {len(closed)} closed files equal, also on a second machine; jobs ended with {done.returncode}"


def other(site, closed):
    """Another machine with nothing but the settings."""
    site.state = site.path("other")
    site.start()
    if not os.listdir(site.mnt()):
        raise Failed("the second machine shows an empty library")
    failed = {row for row in site.tgfs("list", "--json").stdout.split('"') if row.endswith(".bin")}
    check(site, {name: digest for name, digest in closed.items() if "/" + name in failed}, "on the second machine")
    missing = [name for name in closed if "/" + name not in failed and "/renamed-" + name not in failed]
    expect(not missing, f"the second machine lacks {len(missing)} files: {missing[:3]}")
    site.stop()
