"""A simulated Telegram with a daemon over it."""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time

from .local import with_token
from .programs import Program, unmount

MB = 1_000_000


# Manifests that may go one right after the other (three), at one in 15 s, with a second to spare.
REST_SECONDS = 46


def rest():
    """As long as a household waits between two films: the next manifests go at once."""
    time.sleep(REST_SECONDS)


class Stage:
    """A simulator, and a daemon with a mount, in a scratch directory."""

    def __init__(self, programs, bots, *simulated, http="off", **settings):
        self.programs = programs
        self.http = http
        self.dir = tempfile.mkdtemp(prefix="tgfs-bench-", dir=os.environ.get("TMPDIR"))
        self.env = self.path("env")
        self.sim = Program(
            [f"{programs}/telegram-sim", "--listen", "127.0.0.1:0", "--bots", str(bots),
             "--write-env", self.env, *map(str, simulated)],
            self.path("sim.log"))
        with open(self.env, "a") as env:
            for name, value in settings.items():
                env.write(f"{name}={value}\n")
        self.daemon = None
        self.mount("state")

    def path(self, name):
        return os.path.join(self.dir, name)

    def mnt(self, name=""):
        return os.path.join(self.dir, "mnt", name)

    def mount(self, state):
        self.state = self.path(state)
        self.daemon = Program(
            [f"{self.programs}/tgfs", "mount", "--env-file", self.env, "--state", self.state,
             "--http", self.http, self.path("mnt")],
            self.path(f"{state}.log"))

    def url(self):
        """Where its HTTP listens, when it does, with the token in the path."""
        said = dict(word.split("=", 1) for word in self.daemon.ready_line().split()[1:])
        return with_token(said["http"], self.state)

    def remount(self):
        """The same state with empty caches."""
        self.daemon.stop()
        self.mount(os.path.basename(self.state))

    def tgfs(self, *arguments, check=True):
        return subprocess.run(
            [f"{self.programs}/tgfs", "--env-file", self.env, "--state", self.state, *arguments],
            check=check, capture_output=True, text=True)

    def attached(self):
        """Until bots are signed in and the library is known."""
        with open(self.mnt("warm"), "wb") as warm:
            warm.write(b"w" * 5_000_000)
        self.tgfs("status", "--wait", "/warm")
        rest()

    def close(self):
        if self.daemon:
            self.daemon.stop()
        self.sim.stop()
        unmount(self.path("mnt"))
        shutil.rmtree(self.dir)


def film(path, megabytes):
    """Noise that no media tool takes for a film."""
    with open(path, "wb") as output, open("/dev/urandom", "rb") as noise:
        left = megabytes * MB
        while left:
            piece = noise.read(min(left, 1 << 20))
            output.write(piece)
            left -= len(piece)


@contextlib.contextmanager
def scratch_film(megabytes):
    """As `film`, for as long as it is needed."""
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "film")
        film(path, megabytes)
        yield path


def store(stage, source, megabytes):
    """Copies a film in; seconds of the copy, and from its close until the film is stored seconds and CPU
    seconds a GB of the daemon. The copy ends with the bytes on this machine's disk: another measurement."""
    begun = time.monotonic()
    shutil.copyfile(source, stage.mnt("film.bin"))
    copied, cpu = time.monotonic(), stage.daemon.cpu()
    stage.tgfs("status", "--wait", "/film.bin")
    stored = time.monotonic()
    return copied - begun, stored - copied, (stage.daemon.cpu() - cpu) / (megabytes / 1000)


def timed_reads(path, offsets, length):
    times = []
    with open(path, "rb", buffering=0) as opened:
        for offset in offsets:
            begun = time.monotonic()
            got = os.pread(opened.fileno(), length, offset)
            times.append(time.monotonic() - begun)
            assert len(got) == length
    return times
