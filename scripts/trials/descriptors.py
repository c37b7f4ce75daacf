"""A daemon that may have 64 descriptors."""

import concurrent.futures
import os
import resource

from .site import Site, expect

LIMIT = 64
FILES = 200


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
        for file in opened:
            try:
                file.close()
            except OSError as error:
                errors.append(error.strerror)
        expect(kept, f"no file at all could be synced: {set(errors)}")
        expect(site.is_alive(), "the daemon ended")
        # With the files closed everything works again.
        with open(site.mnt("after"), "wb") as file:
            file.write(b"after")
        kept["after"] = b"after"
        site.wait_stored()

        def same(name):
            with open(site.mnt(name), "rb") as file:
                return file.read() == kept[name]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            expect(all(pool.map(same, kept)), "a synced file has other bytes")
        site.restart()
        expect(all(map(same, kept)), "a synced file has other bytes after a restart")
    return f"{files} files open at once: {len(kept) - 1} synced and equal, {len(errors)} errors ({', '.join(sorted(set(errors))) or 'none'})"
