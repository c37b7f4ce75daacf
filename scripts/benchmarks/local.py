"""A daemon over the local store, in a scratch directory in memory where there is room."""

import json
import os
import shutil
import subprocess
import tempfile
import urllib.parse
import urllib.request

from .programs import Program, unmount

MEMORY = "/dev/shm"
# A film of 1 GiB in spool, store and a peer's cache.
ROOM = 6 << 30


def scratch(room=ROOM):
    """A directory for a line: in memory where there is room in bytes, so that no disk is measured; else where
    TMPDIR says."""
    try:
        space = os.statvfs(MEMORY)
        in_memory = space.f_bavail * space.f_frsize >= room
    except OSError:
        in_memory = False
    return tempfile.mkdtemp(prefix="tgfs-bench-", dir=MEMORY if in_memory else os.environ.get("TMPDIR"))


class Local:
    """A library in a directory, with a mount and HTTP."""

    def __init__(self, run, directory, **settings):
        self.programs = run.programs
        self.dir = directory
        self.settings = {key: str(value) for key, value in settings.items()}
        self.daemon = None
        self.mount()

    def path(self, name):
        return os.path.join(self.dir, name)

    def mnt(self, name=""):
        return os.path.join(self.dir, "mnt", name)

    def mount(self):
        environment = {**os.environ, "LOG_LEVEL": "WARNING", **self.settings}
        self.daemon = Program(
            [f"{self.programs}/tgfs", "mount", "--state", self.path("state"), "--store", f"local:{self.path('store')}",
             "--http", "127.0.0.1:0", self.path("mnt")],
            self.path("daemon.log"), env=environment, cwd=self.dir)
        said = dict(word.split("=", 1) for word in self.daemon.ready_line().split()[1:])
        self.base = said["http"]
        self.url = with_token(self.base, self.path("state"))

    def remount(self):
        """The same library with empty caches."""
        self.daemon.stop()
        self.mount()

    def tgfs(self, *arguments):
        return subprocess.run(
            [f"{self.programs}/tgfs", "--state", self.path("state"), *arguments],
            check=True, capture_output=True, text=True, cwd=self.dir).stdout

    def store(self, source, name):
        """Copies a file in and waits until it is stored and mapped."""
        shutil.copyfile(source, self.mnt(name))
        self.tgfs("status", "--wait")

    def cpu(self):
        return self.daemon.cpu_with_children()

    def get(self, path):
        return fetch(self.url + path)

    def close(self):
        if self.daemon:
            self.daemon.stop()
        unmount(self.path("mnt"))


def with_token(url, state):
    """The address of a gateway with the token in its path, for programs that cannot sign in."""
    with open(os.path.join(state, "http-token"), encoding="ascii") as file:
        return f"{url}/t/{file.read().strip()}"


def fetch(url):
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read()


def fetched(url):
    """Bytes of blocks that came from the store so far, those fetched ahead included."""
    figures = dict(line.rsplit(" ", 1) for line in fetch(url + "/metrics").decode().splitlines() if line[:1] != "#")
    return float(figures["tgfs_cache_fetched_bytes_total"])


def hls_of(url, slug, form=""):
    """The media playlists of a film: {name: [addresses of its init and segments, with their seconds]}; with the
    form `?container=ts` those of MPEG-TS."""
    def media(base, text):
        seconds, found = 0.0, []
        for line in text.splitlines():
            if line.startswith("#EXT-X-MAP:"):
                found.append((urllib.parse.urljoin(base, line.split('URI="')[1].split('"')[0]), 0.0))
            elif line.startswith("#EXTINF:"):
                seconds = float(line[8:].split(",")[0])
            elif line and not line.startswith("#"):
                found.append((urllib.parse.urljoin(base, line), seconds))
        return found
    master = f"{url}/playlist/local/{slug}.m3u8{form}"
    text = fetch(master).decode()
    lists = {}
    for line in text.splitlines():
        if "TYPE=AUDIO" in line and 'URI="' in line:
            lists.setdefault("audio", urllib.parse.urljoin(master, line.split('URI="')[1].split('"')[0]))
        elif line and not line.startswith("#"):
            lists.setdefault("video", urllib.parse.urljoin(master, line))
    return {name: media(address, fetch(address).decode()) for name, address in lists.items()}


def slug_of(url, path="/film.mkv"):
    """A film's address below `/playlist/local/`."""
    files = json.loads(fetch(url + "/files.json"))["files"]
    return next(file["id"] for file in files if file["path"] == path)
