"""A clock that jumps while the daemon works."""

import os

from benchmarks import peers

from .site import Site, expect

JUMPS = ["+0", "+1h", "-2h", "+400d", "-3000d", "+30y", "+0"]


def clock(run):
    peers.debian(faketime="faketime")
    library = next(path for path in ("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
                                     "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1") if os.path.exists(path))
    with Site(run) as site:
        when = site.path("when")
        site.env |= {"LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": when, "FAKETIME_NO_CACHE": "1",
                     "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        set_clock(when, "+0")
        site.start()
        written = {}
        for number, jump in enumerate(JUMPS * run.times(3)):
            set_clock(when, jump)
            written[f"f{number}"] = os.urandom(200_000)
            with open(site.mnt(f"f{number}"), "wb") as file:
                file.write(written[f"f{number}"])
            os.rename(site.mnt(f"f{number}"), site.mnt(f"r{number}"))
            site.wait_stored()
            if number % 3 == 2:
                site.restart()
        for name, data in written.items():
            with open(site.mnt("r" + name[1:]), "rb") as file:
                expect(file.read() == data, f"{name} has other bytes")
        verify = site.tgfs("verify", "--deep")
        expect(verify.returncode == 0, f"verify: {verify.stdout} {verify.stderr}")
    return f"{len(written)} files over jumps of {', '.join(JUMPS[1:-1])}: stored, equal, verified"


def set_clock(path, jump):
    with open(path + ".new", "w") as file:
        file.write(jump + "\n")
    os.rename(path + ".new", path)
