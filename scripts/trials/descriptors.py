"""A daemon that may have 64 descriptors."""

import concurrent.futures
import http.client
import os
import resource
import urllib.parse

from .site import Site, expect

LIMIT = 64
FILES = 200


def answered(site):
    address = urllib.parse.urlsplit(site.said("http"))
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=10)
    connection.request("GET", "/healthz")
    return connection.getresponse().status == 200


def descriptors(run):
    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, LIMIT))

    with Site(run) as site:
        site.start(preexec_fn=limit)
        files, errors, kept = run.times(FILES), [], {}
        opened = []
        for number in range(files):
            data = os.urandom(20_000)
            try:
                file = open(site.mnt(f"f{number}"), "wb", buffering=0)
                opened.append(file)
                file.write(data)
                os.fsync(file.fileno())
                kept[f"f{number}"] = data
            except OSError as error:
                errors.append(error.strerror)
        expect(len(set(os.listdir(site.mnt())) & kept.keys()) == len(kept), "the listing lacks files")
        expect(answered(site), "the gateway does not answer")
        for file in opened:
            try:
                file.close()
            except OSError as error:
                errors.append(error.strerror)
        expect(not errors and len(kept) == files, f"{len(errors)} of {files} files failed: {set(errors)}")
        expect(site.is_alive(), "the daemon ended")
        # What is in the spool is found by a start that may open no more.
        site.kill()
        site.start()
        with open(site.mnt("after"), "wb") as file:
            file.write(b"after")
        kept["after"] = b"after"
        site.wait_stored()
        states = site.states()
        expect(all(states.get("/" + name) == "stored" for name in kept), f"not stored: {states}")

        def same(name):
            with open(site.mnt(name), "rb") as file:
                return file.read() == kept[name]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            expect(all(pool.map(same, kept)), "a synced file has other bytes")
        site.restart()
        expect(all(map(same, kept)), "a synced file has other bytes after a restart")
        site.stop()
    return f"{files} files open at once: all synced, equal and stored, also after a restart; listing and HTTP answered meanwhile"
