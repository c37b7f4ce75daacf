"""Takes the place of ffmpeg, and tries what a tool that was taken over would try.

Prints `NAME=ok` for each attempt that worked and `NAME=ERRNO` for the others. Arguments: the control
socket's stand-in, a file of somebody else, a directory to write to, the daemon's pid.
"""
import ctypes
import errno
import os
import platform
import signal
import socket
import sys
import threading

path_socket, secret, directory, daemon = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
libc = ctypes.CDLL(None, use_errno=True)
X86 = platform.machine() == "x86_64"


def attempt(name, action):
    try:
        action()
        print(f"{name}=ok")
    except OSError as error:
        print(f"{name}={errno.errorcode.get(error.errno, error.errno)}")
    except RuntimeError:
        print(f"{name}=EAGAIN")


def call(number, *arguments):
    if libc.syscall(ctypes.c_long(number), *[ctypes.c_long(one) for one in arguments]) < 0:
        raise OSError(ctypes.get_errno(), "")


def fork():
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def threads():
    # Each waits until all are started.
    end = threading.Event()
    try:
        for _ in range(20_000):
            threading.Thread(target=end.wait, daemon=True).start()
    finally:
        end.set()


attempt("tcp", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
attempt("udp", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
attempt("unix", lambda: socket.socket(socket.AF_UNIX))
attempt("netlink", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
attempt("pair", socket.socketpair)
attempt("control", lambda: socket.socket(socket.AF_UNIX).connect(path_socket))
attempt("abstract", lambda: socket.socket(socket.AF_UNIX).connect("\0tgfs-test"))
attempt("signal", lambda: os.kill(daemon, 0))
attempt("signal-group", lambda: os.killpg(os.getpgid(daemon), 0))
attempt("fork", fork)
attempt("spawn", lambda: os.posix_spawn("/bin/true", ["true"], {}))
attempt("setsid", os.setsid)
attempt("setpgid", lambda: os.setpgid(0, 0))
attempt("read", lambda: open(secret).read())
attempt("memory", lambda: open(f"/proc/{daemon}/mem", "rb").read(1))
attempt("write", lambda: open(directory + "/new", "w").close())
attempt("unlink", lambda: os.unlink(secret))
attempt("setuid", lambda: os.setuid(os.getuid()))
attempt("terminal", lambda: call(16 if X86 else 29, 0, 0x5412, 0))
attempt("orphan", lambda: call(157 if X86 else 167, 1, 0, 0, 0, 0))
attempt("ptrace", lambda: call(101 if X86 else 117, 16, daemon, 0, 0))
attempt("peek", lambda: call(310 if X86 else 270, daemon, 0, 0, 0, 0, 0))
attempt("unshare", lambda: call(272 if X86 else 97, 0x10000000))
attempt("mount", lambda: call(165 if X86 else 40, 0, 0, 0, 0, 0))
attempt("keyctl", lambda: call(250 if X86 else 219, 0, 0, 0, 0, 0))
attempt("bpf", lambda: call(321 if X86 else 280, 0, 0, 0))
attempt("userfaultfd", lambda: call(323 if X86 else 282, 0))
attempt("io_uring", lambda: call(425, 1, 0))
attempt("pidfd", lambda: call(434, daemon, 0))
attempt("clone3", lambda: call(435, 0, 0))
attempt("unknown", lambda: call(470, 0))
if X86:
    # The same call by its number for programs of 32 bits in the 64-bit mode.
    attempt("x32-socket", lambda: call(0x40000000 | 41, 1, 1, 0))
attempt("limits-of-others", lambda: call(302 if X86 else 261, daemon, 7, 0, 0))
# What a tool needs.
attempt("own-thread", lambda: threading.Thread(target=print).start())
attempt("own-signal", lambda: os.kill(os.getpid(), 0))
attempt("input", lambda: open("/proc/self/fd/0", "rb").read(4))
attempt("threads", threads)
print(f"uid={os.getuid()}")
sys.stdout.flush()
os.kill(os.getpid(), signal.SIGKILL)
