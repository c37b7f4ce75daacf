"""A clock that jumps while the daemon works."""

import http.client
import os
import time
import urllib.parse

from benchmarks import peers

from .site import Service, Site, expect

JUMPS = ["+0", "+1h", "-2h", "+400d", "-3000d", "+30y", "+0"]
# What a jump may cost: Telegram refuses a message whose time is wrong, and says the right one.
PATIENCE = 60


def clock(run):
    peers.debian(faketime="faketime")
    before = left_by_faketime()
    try:
        said = [jumps(run, service) for service in ("local", "telegram")]
    finally:
        # The library leaves them where a process is killed.
        for name in left_by_faketime() - before:
            os.unlink(os.path.join("/dev/shm", name))
    return f"jumps of {', '.join(JUMPS[1:-1])}: {'; '.join(said)}; all stored, equal, verified, and one login lasts"


def left_by_faketime():
    return {name for name in os.listdir("/dev/shm") if "faketime" in name}


def jumps(run, kind):
    library = next(path for path in ("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
                                     "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1") if os.path.exists(path))
    with Site(run, store=kind == "local") as site:
        service = Service(site, run) if kind == "telegram" else None
        try:
            when = site.path("when")
            own = {"LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": when, "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
            site.env |= own
            set_clock(when, "+0")
            site.start()
            written = work(run, site, when)
            verify = site.tgfs("verify", "--deep")
            expect(verify.returncode == 0, f"verify: {verify.stdout} {verify.stderr}")
            site.stop()
        finally:
            if service:
                service.stop()
    return f"{len(written)} files ({kind})"


def work(run, site, when):
    written, cookie = {}, None
    for number, jump in enumerate(JUMPS * run.times(3)):
        set_clock(when, jump)
        begun = time.monotonic()
        written[f"r{number}"] = data = os.urandom(200_000)
        with open(site.mnt(f"f{number}"), "wb") as file:
            file.write(data)
        os.rename(site.mnt(f"f{number}"), site.mnt(f"r{number}"))
        expect(abs(os.stat(site.mnt(f"r{number}")).st_mtime - expected(jump)) < 3600, f"{jump}: the daemon's clock did not jump")
        site.wait_stored()
        took = time.monotonic() - begun
        expect(took < PATIENCE, f"{jump}: a file was stored after {took:.0f} s")
        expect(site.states(f"/r{number}").get(f"/r{number}") == "stored", f"{jump}: r{number} is not stored")
        cookie = cookie or sign_in(site)
        if number < 3:
            # The jumps that follow are longer than a session lasts.
            expect(status(site, cookie) == 200, f"{jump}: the login no longer lasts")
        if number % 3 == 2:
            site.restart()
    for name, data in written.items():
        with open(site.mnt(name), "rb") as file:
            expect(file.read() == data, f"{name} has other bytes")
    return written


def expected(jump):
    units = {"h": 3600, "d": 86400, "y": 365 * 86400}
    return time.time() + (int(jump[:-1]) * units[jump[-1]] if jump[-1] in units else 0)


def sign_in(site):
    """Signs in with the link that the start prints; the cookie."""
    link = urllib.parse.urlsplit(site.said("login"))
    connection = http.client.HTTPConnection(link.netloc, timeout=30)
    connection.request("POST", f"{link.path}?{link.query}")
    answer = connection.getresponse()
    answer.read()
    cookie = answer.getheader("Set-Cookie", "").split(";")[0]
    expect(cookie, f"the link that signs in answers {answer.status} without a cookie")
    return cookie


def status(site, cookie):
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(site.said("http")).netloc, timeout=30)
    connection.request("GET", "/fs/r0", headers={"Cookie": cookie})
    answer = connection.getresponse()
    answer.read()
    return answer.status


def set_clock(path, jump):
    with open(path + ".new", "w") as file:
        file.write(jump + "\n")
    os.rename(path + ".new", path)
