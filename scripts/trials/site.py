"""A library in a scratch directory, whose daemon can be killed, limited and started again."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time

from benchmarks import programs

PATIENCE = 120


class Failed(Exception):
    """A promise that did not hold; the text says which."""


def expect(condition, text):
    if not condition:
        raise Failed(text)


def need_root(why):
    expect(os.geteuid() == 0, f"only root can try this: {why}")


class Site:
    """A state, a store and a mountpoint; the daemon belongs to it."""

    def __init__(self, run, *, state_below=None, prefix=(), env=None, extra=(), store=True):
        self.programs = run.programs
        self.dir = tempfile.mkdtemp(prefix="tgfs-torture-", dir=os.environ.get("TMPDIR"))
        self.state = os.path.join(state_below or self.dir, "state")
        self.prefix = list(prefix)
        self.env = {**os.environ, "LOG_LEVEL": "INFO", "TGFS_SETTLE": "200ms", **(env or {})}
        self.extra = list(extra)
        self.store = ["--store", f"local:{self.path('store')}"] if store else []
        self.daemon = None
        self.starts, self.options = 0, {}

    def __enter__(self):
        return self

    def __exit__(self, kind, *rest):
        self.kill()
        if kind is None:
            shutil.rmtree(self.dir, ignore_errors=True)
        else:
            print(f"kept for a look: {self.dir}", flush=True)

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def mnt(self, *names):
        return os.path.join(self.dir, "mnt", *names)

    def start(self, **options):
        """Starts the daemon, with the options of the last start if none are given."""
        self.starts += 1
        self.options = options or self.options
        self.daemon = programs.Program(
            [*self.prefix, f"{self.programs}/tgfs", "mount", "--state", self.state, *self.store, *self.extra,
             "--http", "127.0.0.1:0", self.mnt()],
            self.path(f"daemon-{self.starts}.log"), env=self.env, cwd=self.dir, **self.options)
        return self

    def said(self, key):
        """A field of the line that begins with `ready`."""
        return dict(word.split("=", 1) for word in self.daemon.ready_line().split()[1:])[key]

    def kill(self):
        """Ends the daemon as a power switch would end the process, and takes the dead mount away."""
        if self.daemon:
            self.daemon.stop(signal.SIGKILL)
            self.daemon = None
        programs.unmount(self.mnt())

    def stop(self):
        self.daemon.child.send_signal(signal.SIGTERM)
        try:
            code = self.daemon.child.wait(timeout=40)
        except subprocess.TimeoutExpired as error:
            raise Failed("the daemon did not stop within 40 s") from error
        expect(code == 0, f"the daemon ended with {code}")
        self.daemon = None

    def restart(self):
        self.stop()
        return self.start()

    def tgfs(self, *arguments, timeout=PATIENCE):
        return subprocess.run([f"{self.programs}/tgfs", "--state", self.state, *self.store, *self.extra, *arguments],
                              capture_output=True, text=True, errors="replace", cwd=self.dir, env=self.env, timeout=timeout)

    def wait_stored(self, seconds=PATIENCE):
        """Waits until no job is left."""
        try:
            return self.tgfs("status", "--wait", timeout=seconds)
        except subprocess.TimeoutExpired as error:
            raise Failed(f"jobs did not end within {seconds} s: {self.tgfs('status').stdout}") from error

    def listed(self, *below):
        listed = self.tgfs("list", "--json", *below)
        expect(listed.returncode == 0, f"list: {listed.stderr}")
        return json.loads(listed.stdout)

    def states(self, *below):
        """The state of each file, by its path."""
        return {entry["path"]: entry["state"] for entry in self.listed(*below)}

    def put_in(self, name):
        """Copies a file of the scratch directory into the mount."""
        shutil.copyfile(self.path(name), self.mnt(name))

    def is_alive(self):
        return self.daemon is not None and self.daemon.child.poll() is None


class Service:
    """A simulated Telegram, whose world outlives its restarts; the site's daemon uses it."""

    def __init__(self, site, run, arguments=()):
        self.site, self.restarts, self.address = site, 0, "127.0.0.1:0"
        self.env = site.path("env")
        self.command = [f"{run.programs}/telegram-sim", "--bots", "3", "--messages-per-minute", "0", "--data", site.path("world"),
                        "--write-env", self.env, *arguments]
        site.extra = [*site.extra, "--env-file", self.env]
        self.begin()

    def begin(self):
        self.program = programs.Program([*self.command, "--listen", self.address],
                                        self.site.path(f"service-{self.restarts}.log"))
        self.address = dict(word.split("=", 1) for word in self.program.ready_line().split()[1:])["listen"]

    def restart(self, away):
        """Is not there for some seconds."""
        self.program.stop()
        time.sleep(away)
        self.restarts += 1
        self.begin()

    def stop(self):
        self.program.stop()


def eventually(condition, seconds=PATIENCE):
    """Returns whether a condition came true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.2)
    return condition()
