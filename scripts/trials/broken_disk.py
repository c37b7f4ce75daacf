"""A file system that passes everything to a directory, and answers EIO while a file `break` says so.

    python broken_disk.py DIRECTORY MOUNTPOINT SWITCH

The switch is a file with one word: `none`, `writes`, `sync`, `reads` or `all`. Half of the named operations fail.
"""

import errno
import os
import random
import sys

from mfusepy import FUSE, FuseOSError, Operations

FAILING = {"none": (), "writes": ("write",), "sync": ("fsync", "flush"), "reads": ("read",),
           "all": ("write", "fsync", "flush", "read", "create", "rename")}


class BrokenDisk(Operations):
    use_ns = True

    def __init__(self, root, switch):
        self.root, self.switch, self.dice = root, switch, random.Random(5)

    def at(self, path):
        return self.root + path

    def check(self, what):
        with open(self.switch, encoding="utf-8") as switch:
            failing = FAILING.get(switch.read().strip(), ())
        if what in failing and self.dice.random() < 0.5:
            raise FuseOSError(errno.EIO)

    def getattr(self, path, fh=None):
        found = os.lstat(self.at(path))
        return {name: getattr(found, name) for name in ("st_mode", "st_nlink", "st_uid", "st_gid", "st_size", "st_blocks")} | {
            "st_mtime": found.st_mtime_ns, "st_atime": found.st_atime_ns, "st_ctime": found.st_ctime_ns}

    def readdir(self, path, fh):
        return [".", "..", *os.listdir(self.at(path))]

    def mknod(self, path, mode, dev):
        os.mknod(self.at(path), mode, dev)

    def mkdir(self, path, mode):
        os.mkdir(self.at(path), mode)

    def rmdir(self, path):
        os.rmdir(self.at(path))

    def unlink(self, path):
        os.unlink(self.at(path))

    def rename(self, old, new):
        self.check("rename")
        os.rename(self.at(old), self.at(new))

    def chmod(self, path, mode):
        os.chmod(self.at(path), mode)

    def chown(self, path, uid, gid):
        os.chown(self.at(path), uid, gid)

    def utimens(self, path, times=None):
        os.utime(self.at(path), ns=times)

    def create(self, path, mode, fi=None):
        self.check("create")
        return os.open(self.at(path), os.O_RDWR | os.O_CREAT | os.O_TRUNC, mode)

    def open(self, path, flags):
        return os.open(self.at(path), flags & ~os.O_APPEND)

    def read(self, path, size, offset, fh):
        self.check("read")
        return os.pread(fh, size, offset)

    def write(self, path, data, offset, fh):
        self.check("write")
        return os.pwrite(fh, data, offset)

    def truncate(self, path, length, fh=None):
        if fh is None:
            os.truncate(self.at(path), length)
        else:
            os.ftruncate(fh, length)

    def flush(self, path, fh):
        self.check("flush")

    def fsync(self, path, datasync, fh):
        self.check("fsync")
        os.fsync(fh)

    def fsyncdir(self, path, datasync, fh):
        self.check("fsync")

    def release(self, path, fh):
        os.close(fh)

    def statfs(self, path):
        found = os.statvfs(self.at(path))
        return {name: getattr(found, name) for name in
                ("f_bavail", "f_bfree", "f_blocks", "f_bsize", "f_favail", "f_ffree", "f_files", "f_frsize", "f_namemax")}


if __name__ == "__main__":
    FUSE(BrokenDisk(sys.argv[1], sys.argv[3]), sys.argv[2], foreground=True, nothreads=False, allow_other=False)
