"""Random operations on one file, compared with the same operations on plain memory."""

import ctypes
import mmap
import os
import random
import tempfile

from .site import Failed, Site, expect

LARGEST = 1 << 20
OPERATIONS = 100_000
SEEDS = 6
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16
LIBC = ctypes.CDLL(None, use_errno=True)


def fallocate(descriptor, mode, offset, length):
    call = LIBC.fallocate
    call.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    if call(descriptor, mode, offset, length) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


class Fsx:
    """One file, its bytes as they have to be, and the dice."""

    def __init__(self, path, seed, without=()):
        self.operations = [pair for pair in self.OPERATIONS if pair[0].__name__ not in without]
        self.path, self.dice, self.bytes = path, random.Random(seed), bytearray()
        self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)

    def some(self):
        """An offset and a length; most are short."""
        offset = self.dice.randrange(LARGEST)
        longest = self.dice.choice((1, 100, 4096, 65_536, 300_000))
        return offset, max(1, min(self.dice.randrange(longest) + 1, LARGEST - offset))

    def grown(self, size):
        if size > len(self.bytes):
            self.bytes.extend(bytes(size - len(self.bytes)))

    def write(self):
        offset, length = self.some()
        data = self.dice.randbytes(length)
        expect(os.pwrite(self.file, data, offset) == length, "a short write")
        self.grown(offset + length)
        self.bytes[offset:offset + length] = data

    def read(self):
        offset, length = self.some()
        expect(os.pread(self.file, length, offset) == self.bytes[offset:offset + length], "a read differs")

    def truncate(self):
        size = self.dice.randrange(LARGEST)
        os.ftruncate(self.file, size)
        self.grown(size)
        del self.bytes[size:]

    def mapped_read(self):
        if self.bytes:
            with mmap.mmap(self.file, len(self.bytes), prot=mmap.PROT_READ) as view:
                offset, length = self.some()
                expect(view[offset:offset + length] == self.bytes[offset:offset + length], "a mapping differs")

    def mapped_write(self):
        if len(self.bytes) > 1:
            with mmap.mmap(self.file, len(self.bytes)) as view:
                offset = self.dice.randrange(len(self.bytes))
                length = min(self.dice.randrange(20_000) + 1, len(self.bytes) - offset)
                data = self.dice.randbytes(length)
                view[offset:offset + length] = data
                self.bytes[offset:offset + length] = data

    def punch(self):
        offset, length = self.some()
        fallocate(self.file, PUNCH_HOLE | KEEP_SIZE, offset, length)
        end = min(offset + length, len(self.bytes))
        if end > offset:
            self.bytes[offset:end] = bytes(end - offset)

    def zero(self):
        offset, length = self.some()
        fallocate(self.file, ZERO_RANGE, offset, length)
        self.grown(offset + length)
        self.bytes[offset:offset + length] = bytes(length)

    def allocate(self):
        offset, length = self.some()
        fallocate(self.file, 0, offset, length)
        self.grown(offset + length)

    def copy_range(self):
        """Copies within the file, over another file, as ranges of one file must not overlap."""
        if self.bytes:
            offset = self.dice.randrange(len(self.bytes))
            length = min(self.dice.randrange(200_000) + 1, len(self.bytes) - offset)
            with open(self.path + ".copy", "w+b") as other:
                self.copied(self.file, other.fileno(), length, offset, 0)
                expect(os.pread(other.fileno(), length, 0) == self.bytes[offset:offset + length], "a copy differs")
            os.unlink(self.path + ".copy")

    @staticmethod
    def copied(source, target, length, at, to):
        while length:
            done = os.copy_file_range(source, target, length, at, to)
            expect(done > 0, "copy_file_range copied nothing")
            at, to, length = at + done, to + done, length - done

    def reopen(self):
        os.close(self.file)
        self.file = os.open(self.path, os.O_RDWR)
        expect(os.fstat(self.file).st_size == len(self.bytes), "the size differs after an open")

    def sync(self):
        os.fsync(self.file)

    OPERATIONS = [(write, 30), (read, 30), (truncate, 4), (mapped_read, 10), (mapped_write, 8), (punch, 4), (zero, 3),
                  (allocate, 2), (copy_range, 3), (reopen, 2), (sync, 1)]

    def run(self, count):
        for number in range(count):
            operation = self.dice.choices(*zip(*self.operations))[0]
            try:
                operation(self)
            except Failed as failure:
                raise Failed(f"operation {number}, {operation.__name__}: {failure}") from failure
            except OSError as error:
                raise Failed(f"operation {number}, {operation.__name__}: {error}") from error
        self.whole()
        os.close(self.file)

    def whole(self):
        expect(os.pread(self.file, LARGEST + 1, 0) == self.bytes, "the whole file differs")


def fsx(run):
    count = run.times(OPERATIONS)
    with Site(run) as site:
        site.start()
        with tempfile.TemporaryDirectory(dir="/dev/shm") as control:
            # tmpfs has no ZERO_RANGE.
            Fsx(os.path.join(control, "f"), run.seed, without=("zero",)).run(count // 10)
        for seed in range(run.seed, run.seed + SEEDS):
            trial = Fsx(site.mnt(f"fsx-{seed}"), seed)
            trial.run(count)
            site.wait_stored()
            site.restart()
            with open(site.mnt(f"fsx-{seed}"), "rb") as stored:
                expect(stored.read() == trial.bytes, f"seed {seed}: the stored copy differs after a restart")
    return f"{SEEDS} files, {count} operations each, all equal; stored copies equal after restarts"
