"""Random system calls on names, modes, links and times: the same calls on tmpfs have to end the same.

Each step is made in both places, by root or by one of three other users. Compared are the error, or what a look at the name
then says, and which modification times moved. What the mount promises to do otherwise (docs/SEMANTICS.md) is named in
`told_otherwise`.
"""

import contextlib
import ctypes
import errno
import os
import random
import stat
import tempfile

from .site import Failed, Site, expect, need_root

STEPS = 40_000
NAMES = ["a", "b", "c", "d", "e.mkv", "f" * 255, "g" * 256, "h i", "ü", "-n", "x" * 120]
MODES = [0o000, 0o400, 0o600, 0o644, 0o755, 0o700, 0o777, 0o4755, 0o2755, 0o1777, 0o6711]
STRANGER = 65534
# Who makes a call: uid, gid and other groups.
USERS = [(0, 0, []), (STRANGER, STRANGER, []), (1234, 1234, [STRANGER]), (1234, STRANGER, [])]
RENAME_NOREPLACE = 1
LONG_AGO = 10**18
LIBC = ctypes.CDLL(None, use_errno=True)
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

    def both(self, what, call, user=USERS[0]):
        """Makes a call in both places, as the same user; an outcome is a value or the name of an error."""
        ends = []
        for root in self.roots:
            with acting(user):
                try:
                    ends.append(call(root))
                except OSError as error:
                    ends.append(errno.errorcode.get(error.errno, str(error.errno)))
        self.steps.append(f"{what} by {user[0]}:{user[1]}")
        return ends

    def differs(self, what, ends):
        return Failed(f"step {len(self.steps)}, {what}: {ends[0]} in the mount, {ends[1]} on tmpfs; before it: {self.related(what)}")

    def related(self, what):
        """The last calls on the same names."""
        names = what.split()[1:]
        return [step for step in self.steps[:-1] if set(names) & set(step.split()[1:])][-8:]


@contextlib.contextmanager
def acting(user):
    """Calls are made as a user."""
    uid, gid, groups = user
    if uid == gid == 0:
        yield
        return
    own = os.getgroups()
    os.setgroups(groups)
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(own)


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


def rename_noreplace(old, new):
    if LIBC.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), RENAME_NOREPLACE) != 0:
        raise OSError(ctypes.get_errno(), old)


def removed_while_open(path):
    """What a program sees of its file once the name is gone."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        before = os.pread(descriptor, 10_000, 0)
        os.unlink(path)
        os.pwrite(descriptor, b"more", len(before))
        return os.pread(descriptor, 20_000, 0) == before + b"more", os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def attributes(path, name, value):
    """Sets an attribute, or takes it away."""
    if value:
        os.setxattr(path, name, value)
        return os.getxattr(path, name)
    os.removexattr(path, name)
    return None


def steps(pair):
    """One random call: what it is called, the call, and the names in it."""
    dice, name, other = pair.dice, pair.name(), pair.name()
    flags = dice.choice((os.O_RDONLY, os.O_WRONLY, os.O_RDWR)) | dice.choice(
        (0, os.O_CREAT, os.O_CREAT | os.O_EXCL, os.O_TRUNC, os.O_CREAT | os.O_TRUNC, os.O_APPEND, os.O_DIRECTORY, os.O_NOFOLLOW))
    rights = dice.choice((os.F_OK, os.R_OK, os.W_OK, os.X_OK, os.R_OK | os.W_OK))
    mode, data = dice.choice(MODES), b"x" * dice.randrange(3000)
    size, when = dice.randrange(10_000), (dice.randrange(-10**9, 4 * 10**9), dice.randrange(10**9))
    # A chown of neither clears set-user-id on Linux, but the kernel does not tell a FUSE file system of it.
    uid, gid = dice.choice(((0, -1), (STRANGER, -1), (-1, 0), (-1, STRANGER), (0, STRANGER), (STRANGER, STRANGER)))
    nanoseconds = when[0] * 10**9 + when[1]
    attribute, value = dice.choice(("user.a", "user.b")), dice.choice((b"", b"one", b"x" * 900))

    def times(root):
        path = f"{root}/{name}"
        os.utime(path, ns=(nanoseconds, nanoseconds))
        return os.stat(path).st_mtime_ns

    what, call = dice.choices([
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
        (f"access {name[:20]} {rights}", lambda root: os.access(f"{root}/{name}", rights, effective_ids=True)),
        (f"slash {name[:20]}", lambda root: seen(f"{root}/{name}/")),
        (f"noreplace {name[:20]} {other[:20]}", lambda root: rename_noreplace(f"{root}/{name}", f"{root}/{other}")),
        (f"removed {name[:20]}", lambda root: removed_while_open(f"{root}/{name}")),
        (f"attribute {name[:20]} {attribute} {len(value)}", lambda root: attributes(f"{root}/{name}", attribute, value)),
    ], (30, 15, 8, 12, 20, 8, 5, 8, 4, 6, 3, 3, 4, 3, 5))[0]
    return what, call, (name, other)


def step(pair):
    what, call, names = steps(pair)
    user = USERS[0] if pair.dice.random() < 0.6 else pair.dice.choice(USERS)
    aged = age(pair, names) if pair.dice.random() < 0.3 else []
    ends = pair.both(what, call, user)
    if ends[0] != ends[1]:
        raise pair.differs(what, ends)
    for path in aged:
        times = pair.both(f"times {path[:20]}", lambda root: is_aged(f"{root}/{path}"))
        if times[0] != times[1]:
            raise pair.differs(f"whether the mtime of {path[:20]} stayed, after {what} ({ends[0]})", times)
    target = pair.name()
    looks = pair.both(f"stat {target[:20]}", lambda root: seen(f"{root}/{target}"))
    if looks[0] != looks[1]:
        raise pair.differs(f"stat {target[:20]} after {what}", looks)


def age(pair, names):
    """Makes what a call may touch old, so that a look tells whether its times moved."""
    paths = [path for name in names for path in (name, os.path.dirname(name)) if ".." not in path]
    for root in pair.roots:
        for path in paths:
            with contextlib.suppress(OSError):
                os.utime(f"{root}/{path}", ns=(LONG_AGO, LONG_AGO))
    return paths


def is_aged(path):
    return os.lstat(path).st_mtime_ns == LONG_AGO


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
    need_root("other users make calls, too")
    with Site(run, extra=["--allow-other"]) as site, tempfile.TemporaryDirectory(dir="/dev/shm") as control:
        site.start()
        # Others have to come as far as the trees.
        os.chmod(site.dir, 0o711)
        os.chmod(control, 0o711)
        told_otherwise(site, control)
        # Names with `..` must not lead to the root, where the mount has a name of its own.
        here, there = site.mnt("1", "2", "3", "tree"), os.path.join(control, "1", "2", "3", "tree")
        for top in (here, there):
            os.makedirs(top)
            os.chmod(top, 0o777)
        pair = Pair(here, there, run.seed)
        for _ in range(count):
            step(pair)
        expect(tree(here) == tree(there), "the trees differ at the end")
        before = tree(here)
        site.wait_stored()
        site.restart()
        expect(tree(here) == before, "the tree differs after a restart")
    return f"{count} calls by four users end as on tmpfs; the tree of {len(before)} names is the same after a restart"
