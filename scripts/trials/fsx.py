"""Random operations on one file, compared with the same operations on plain memory."""

import ctypes
import errno
import mmap
import os
import random
import tempfile

from .site import Failed, Site, expect

LARGEST = 1 << 20
# Of a file that spans several packs; each operation on it moves more.
LARGE = 96 << 20
OPERATIONS = 100_000
SEEDS = 6
# How often a file is closed, stored and opened again, so that operations meet stored bytes.
STORED_TIMES = 15
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

    def __init__(self, path, seed, largest=LARGEST, without=(), store=None):
        self.operations = [pair for pair in self.OPERATIONS if pair[0].__name__ not in without]
        self.path, self.seed, self.dice, self.bytes = path, seed, random.Random(seed), bytearray()
        self.largest, self.store = largest, store
        self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)

    def some(self):
        """An offset and a length; most are short."""
        offset = self.dice.randrange(self.largest)
        if self.dice.random() < 0.2:
            # Where pages, blocks and parts meet.
            offset = max(0, offset // 4096 * 4096 - self.dice.choice((0, 0, 1)))
        longest = self.dice.choice((1, 100, 4096, 65_536, 300_000))
        return offset, max(1, min(self.dice.randrange(longest) + 1, self.largest - offset))

    def grown(self, size):
        if size > len(self.bytes):
            self.bytes.extend(bytes(size - len(self.bytes)))

    def write(self):
        offset, length = self.some()
        data = self.dice.randbytes(length)
        expect(os.pwrite(self.file, data, offset) == length, "a short write")
        self.grown(offset + length)
        self.bytes[offset:offset + length] = data

    def append(self):
        data = self.dice.randbytes(min(self.dice.randrange(20_000) + 1, self.largest - len(self.bytes)))
        with open(self.path, "ab", buffering=0) as file:
            expect(file.write(data) == len(data), "a short write")
        self.bytes.extend(data)

    def read(self):
        offset, length = self.some()
        expect(os.pread(self.file, length, offset) == self.bytes[offset:offset + length], "a read differs")

    def seek(self):
        """Whatever is said to be a hole reads as zeros, and data is found."""
        offset = self.dice.randrange(self.largest)
        if offset >= len(self.bytes):
            return
        try:
            data = os.lseek(self.file, offset, os.SEEK_DATA)
        except OSError as error:
            expect(error.errno == errno.ENXIO, f"SEEK_DATA: {error}")
            data = len(self.bytes)
        expect(not any(self.bytes[offset:data]), "SEEK_DATA passes over data")
        expect(offset <= os.lseek(self.file, offset, os.SEEK_HOLE) <= len(self.bytes), "SEEK_HOLE leaves the file")

    def forget(self):
        """The next reads come from the daemon, not from the kernel's pages."""
        os.posix_fadvise(self.file, 0, 0, os.POSIX_FADV_DONTNEED)

    def truncate(self):
        size = self.dice.randrange(self.largest)
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

    def copy_back(self):
        """A part of the file comes from another one."""
        if self.bytes:
            length = min(self.dice.randrange(200_000) + 1, len(self.bytes))
            at, to = self.dice.randrange(len(self.bytes) - length + 1), self.dice.randrange(self.largest - length + 1)
            part = bytes(self.bytes[at:at + length])
            with open(self.path + ".copy", "w+b") as other:
                self.copied(self.file, other.fileno(), length, at, 0)
                self.copied(other.fileno(), self.file, length, 0, to)
            os.unlink(self.path + ".copy")
            self.grown(to + length)
            self.bytes[to:to + length] = part

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

    OPERATIONS = [(write, 30), (append, 3), (read, 30), (truncate, 4), (mapped_read, 10), (mapped_write, 8), (punch, 4), (zero, 3),
                  (allocate, 2), (copy_range, 3), (copy_back, 2), (seek, 3), (forget, 3), (reopen, 2), (sync, 1)]

    def stored(self):
        """Closes the file and goes on with it when it is stored."""
        os.close(self.file)
        self.store()
        self.file = os.open(self.path, os.O_RDWR)
        self.whole()

    def run(self, count):
        for number in range(count):
            if self.store and number % max(1, count // STORED_TIMES) == 0:
                self.stored()
            operation = self.dice.choices(*zip(*self.operations))[0]
            try:
                operation(self)
            except Failed as failure:
                raise Failed(f"seed {self.seed}, operation {number}, {operation.__name__}: {failure}") from failure
            except OSError as error:
                raise Failed(f"seed {self.seed}, operation {number}, {operation.__name__}: {error}") from error
        self.whole()
        os.close(self.file)

    def whole(self):
        with open(self.path, "rb") as file:
            expect(file.read() == self.bytes, "the whole file differs")


def fsx(run):
    count = run.times(OPERATIONS)
    with Site(run) as site:
        site.start()
        with tempfile.TemporaryDirectory(dir="/dev/shm") as control:
            # tmpfs has no ZERO_RANGE.
            Fsx(os.path.join(control, "f"), run.seed, without=("zero",)).run(count // 10)
        for seed in range(run.seed, run.seed + SEEDS):
            one_file(site, seed, count, LARGEST)
        one_file(site, run.seed + SEEDS, count // 20, LARGE)
        site.stop()
    return (f"{SEEDS} files of up to 1 MiB, {count} operations each, and one of up to {LARGE >> 20} MiB, {count // 20}: all equal, "
            f"stored {STORED_TIMES} times on the way; stored copies equal after restarts")


def one_file(site, seed, count, largest):
    path = site.mnt(f"fsx-{seed}")

    def store():
        site.wait_stored()
        states = site.states(f"/fsx-{seed}")
        expect(set(states.values()) == {"stored"}, f"seed {seed}: not stored: {states}")

    trial = Fsx(path, seed, largest, store=store)
    trial.run(count)
    store()
    site.restart()
    with open(path, "rb") as stored:
        expect(stored.read() == trial.bytes, f"seed {seed}: the stored copy differs after a restart")
