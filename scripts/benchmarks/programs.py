"""Programs under measurement: built, started, watched, stopped."""

import json
import os
import signal
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TICKS = os.sysconf("SC_CLK_TCK")


def build():
    """A release of everything that is measured; the directory that holds it."""
    subprocess.run(
        ["cargo", "build", "--release", "--locked", "--quiet", "--workspace", "--bins", "--example", "toy_fuse",
         "--example", "plan_time"],
        cwd=ROOT, check=True)
    metadata = subprocess.run(
        ["cargo", "metadata", "--format-version", "1", "--no-deps", "--locked"],
        cwd=ROOT, check=True, capture_output=True)
    return os.path.join(json.loads(metadata.stdout)["target_directory"], "release")


def cpu_of(pids):
    """CPU seconds that processes have used so far: their own, and of children that ended."""
    own, ended = 0, 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat") as stat:
                fields = [int(field) for field in stat.read().rsplit(")", 1)[1].split()[11:15]]
        except OSError:
            continue
        own += fields[0] + fields[1]
        ended += fields[2] + fields[3]
    return own / TICKS, ended / TICKS


def children_of(pid):
    """All processes below one."""
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as children:
                for child in map(int, children.read().split()):
                    found += [child, *children_of(child)]
    except OSError:
        pass
    return found


class Program:
    """A child that runs until it is stopped. Usually it says `ready` when it can be used."""

    def __init__(self, arguments, log, ready=True, **options):
        self.name = os.path.basename(arguments[0])
        self.log = log
        self.output = open(log, "wb")
        self.child = subprocess.Popen(arguments, stdout=self.output, stderr=self.output, **options)
        if ready:
            self.wait_until(lambda: self.ready_line() is not None)

    def ready_line(self):
        """The line that begins with `ready`, when it has come."""
        with open(self.log, "rb") as log:
            for line in log:
                if line.startswith(b"ready") and line.endswith(b"\n"):
                    return line.decode()
        return None

    def wait_until(self, is_ready, seconds=120):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if is_ready():
                return
            if self.child.poll() is not None:
                break
            time.sleep(0.02)
        with open(self.log, errors="replace") as log:
            sys.exit(f"bench: {self.name} is not ready: {log.read()}")

    @property
    def pid(self):
        return self.child.pid

    def cpu(self):
        """CPU seconds of the program itself."""
        return cpu_of([self.pid])[0]

    def cpu_with_children(self):
        return sum(cpu_of([self.pid, *children_of(self.pid)]))

    def status_mib(self, field):
        with open(f"/proc/{self.pid}/status") as status:
            for line in status:
                if line.startswith(f"{field}:"):
                    return int(line.split()[1]) / 1024
        return 0.0

    def rss_mib(self):
        """Resident memory of its own: pages of mapped files belong to the kernel's cache."""
        return self.status_mib("RssAnon")

    def peak_mib(self):
        return self.status_mib("VmHWM")

    def stop(self, how=signal.SIGTERM):
        if self.child.poll() is None:
            self.child.send_signal(how)
            try:
                self.child.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        self.output.close()


def unmount(path):
    subprocess.run(["fusermount3", "-uzq", path], check=False)
