"""Random system calls on names, modes, links and times: the same calls on tmpfs have to end the same.

Each step is made in both places. Compared are the error, or what a look at the name then says. What the mount promises
to do otherwise (docs/SEMANTICS.md) is named in `told_otherwise`.
"""

import errno
import os
import random
import stat
import tempfile

from .site import Failed, Site, expect

STEPS = 40_000
NAMES = ["a", "b", "c", "d", "e.mkv", "f" * 255, "g" * 256, "h i", "ü", "-n", "x" * 120]
MODES = [0o000, 0o400, 0o600, 0o644, 0o755, 0o700, 0o777, 0o4755, 0o2755, 0o1777, 0o6711]
STRANGER = 65534
# The kernel fixes these names for every file system.
DOTS = [".", ".."]


class Pair:
    """The same tree in two places."""

    def __init__(self, here, control, seed):
        self.roots, self.dice = (here, control), random.Random(seed)
        self.steps = []

    def name(self):
        depth = self.dice.choices((1, 2, 3), (5, 3, 1))[0]
        return "/".join(self.dice.choice(NAMES if self.dice.random() < 0.97 else DOTS) for _ in range(depth))

    def both(self, what, call):
        """Makes a call in both places, as the same user; an outcome is a value or the name of an error."""
        ends = []
        for root in self.roots:
            try:
                ends.append(call(root))
            except OSError as error:
                ends.append(errno.errorcode.get(error.errno, str(error.errno)))
        self.steps.append(what)
        return ends

    def differs(self, what, ends):
        return Failed(f"step {len(self.steps)}, {what}: {ends[0]} in the mount, {ends[1]} on tmpfs; before it: {self.related(what)}")

    def related(self, what):
        """The last calls on the same names."""
        names = what.split()[1:]
        return [step for step in self.steps[:-1] if set(names) & set(step.split()[1:])][-8:]


def seen(path):
    """What a look at a name says, without what no two file systems share."""
    found = os.lstat(path)
    size = found.st_size if stat.S_ISREG(found.st_mode) else 0
    return oct(found.st_mode), found.st_uid, found.st_gid, size


def write(path, flags, data):
    descriptor = os.open(path, flags, 0o644)
    try:
        return os.write(descriptor, data) if flags & (os.O_WRONLY | os.O_RDWR) else os.read(descriptor, 100)
    finally:
        os.close(descriptor)


def steps(pair):
    """One random call: what it is called, and the call."""
    dice, name, other = pair.dice, pair.name(), pair.name()
    flags = dice.choice((os.O_RDONLY, os.O_WRONLY, os.O_RDWR)) | dice.choice(
        (0, os.O_CREAT, os.O_CREAT | os.O_EXCL, os.O_TRUNC, os.O_CREAT | os.O_TRUNC, os.O_APPEND, os.O_DIRECTORY, os.O_NOFOLLOW))
    mode, data = dice.choice(MODES), b"x" * dice.randrange(3000)
    size, when = dice.randrange(10_000), (dice.randrange(-10**9, 4 * 10**9), dice.randrange(10**9))
    # A chown of neither clears set-user-id on Linux, but the kernel does not tell a FUSE file system of it.
    uid, gid = dice.choice(((0, -1), (STRANGER, -1), (-1, 0), (-1, STRANGER), (0, STRANGER), (STRANGER, STRANGER)))
    nanoseconds = when[0] * 10**9 + when[1]

    def times(root):
        path = f"{root}/{name}"
        os.utime(path, ns=(nanoseconds, nanoseconds))
        return os.stat(path).st_mtime_ns

    return dice.choices([
        (f"open {name[:20]} {flags:o}", lambda root: write(f"{root}/{name}", flags, data)),
        (f"mkdir {name[:20]}", lambda root: os.mkdir(f"{root}/{name}", mode | 0o700)),
        (f"rmdir {name[:20]}", lambda root: os.rmdir(f"{root}/{name}")),
        (f"unlink {name[:20]}", lambda root: os.unlink(f"{root}/{name}")),
        (f"rename {name[:20]} {other[:20]}", lambda root: os.rename(f"{root}/{name}", f"{root}/{other}")),
        (f"chmod {name[:20]} {mode:o}", lambda root: os.chmod(f"{root}/{name}", mode)),
        (f"chown {name[:20]} {uid} {gid}", lambda root: os.chown(f"{root}/{name}", uid, gid)),
        (f"truncate {name[:20]} {size}", lambda root: os.truncate(f"{root}/{name}", size)),
        (f"utime {name[:20]} {nanoseconds}", times),
        (f"list {name[:20]}", lambda root: sorted(os.listdir(f"{root}/{name}"))),
        (f"access {name[:20]}", lambda root: os.access(f"{root}/{name}", dice.choice((os.R_OK,)))),
        (f"slash {name[:20]}", lambda root: seen(f"{root}/{name}/")),
    ], (30, 15, 8, 12, 20, 8, 5, 8, 4, 6, 3, 3))[0]


def step(pair):
    what, call = steps(pair)
    ends = pair.both(what, call)
    if ends[0] != ends[1]:
        raise pair.differs(what, ends)
    target = pair.name()
    looks = pair.both(f"stat {target[:20]}", lambda root: seen(f"{root}/{target}"))
    if looks[0] != looks[1]:
        raise pair.differs(f"stat {target[:20]} after {what}", looks)


def tree(root):
    """Every name below a place with what a look at it says."""
    return sorted((os.path.relpath(os.path.join(at, name), root), seen(os.path.join(at, name)))
                  for at, directories, files in os.walk(root) for name in directories + files)


def told_otherwise(site, control):
    """What docs/SEMANTICS.md says the mount does otherwise."""
    open(site.mnt("file"), "w").close()
    for what, call in (("link", lambda: os.link(site.mnt("file"), site.mnt("hard"))),
                       ("symlink", lambda: os.symlink("file", site.mnt("soft"))),
                       ("mknod", lambda: os.mkfifo(site.mnt("pipe")))):
        try:
            call()
        except PermissionError:
            continue
        raise Failed(f"{what} does not answer EPERM")
    os.unlink(site.mnt("file"))


def posix(run):
    count = run.times(STEPS)
    with Site(run, extra=["--allow-other"]) as site, tempfile.TemporaryDirectory(dir="/dev/shm") as control:
        site.start()
        told_otherwise(site, control)
        # Names with `..` must not lead to the root, where the mount has a name of its own.
        here, there = site.mnt("1", "2", "3", "tree"), os.path.join(control, "1", "2", "3", "tree")
        os.makedirs(here)
        os.makedirs(there)
        pair = Pair(here, there, run.seed)
        for _ in range(count):
            step(pair)
        expect(tree(here) == tree(there), "the trees differ at the end")
        before = tree(here)
        site.wait_stored()
        site.restart()
        expect(tree(here) == before, "the tree differs after a restart")
    return f"{count} calls end as on tmpfs; the tree of {len(before)} names is the same after a restart"
