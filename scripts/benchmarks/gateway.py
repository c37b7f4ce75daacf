"""Hot segments over HTTP, against nginx and rclone."""

import json
import os
import shutil
import subprocess
from urllib.parse import urlsplit

from . import media, peers
from .local import Local, fetch, hls_of, scratch, slug_of
from .report import load, median

SEGMENTS = 64
SECONDS = 4
ROUNDS = 3
CONNECTIONS = (8, 64)

# Each thread begins elsewhere and walks through all addresses.
SCRIPT = """
local paths, at = {}, 0
for line in io.lines("%s") do paths[#paths + 1] = line end
function setup(thread) thread:set("from", at); at = at + 17 end
function init(arguments) at = from end
function request() at = at + 7; return wrk.format("GET", paths[at %% #paths + 1]) end
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format('\\n{"bytes": %%d, "us": %%d, "p50": %%f, "p99": %%f, "errors": %%d}\\n', summary.bytes,
    summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


def certificate(directory):
    """A certificate for loopback, and its key."""
    peers.debian(openssl="openssl")
    chain, key = os.path.join(directory, "chain.pem"), os.path.join(directory, "key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", chain],
        check=True, capture_output=True)
    return chain, key


def wrk(base, paths, connections, directory, cpu):
    """One run over all paths; MB/s, latencies in ms, and CPU of the server."""
    listing = os.path.join(directory, "paths")
    with open(listing, "w") as output:
        output.write("\n".join(paths) + "\n")
    script = os.path.join(directory, "paths.lua")
    with open(script, "w") as output:
        output.write(SCRIPT % listing)
    before = cpu()
    said = subprocess.run(
        ["wrk", "-t2", f"-c{connections}", f"-d{SECONDS}s", "--timeout", "30s", "-s", script, base],
        check=True, capture_output=True, text=True).stdout
    spent = cpu() - before
    figures = json.loads(said.strip().splitlines()[-1])
    return {"MB/s": figures["bytes"] / figures["us"], "p50 ms": figures["p50"] / 1000, "p99 ms": figures["p99"] / 1000,
            "CPU s/GiB": spent / max(figures["bytes"] / 2**30, 1e-9), "errors": figures["errors"]}


def segments_of(library):
    """Addresses of the video segments of the first film, without its init and without the token, as players ask."""
    found = hls_of(library.url, slug_of(library.url))["video"]
    addresses = [address.replace(library.url, library.base) for address, seconds in found if seconds]
    return addresses[:SEGMENTS]


def path_of(address):
    parts = urlsplit(address)
    return parts.path + (f"?{parts.query}" if parts.query else "")


def gateway(run):
    """Hot 4 MiB segments, cut as extents from an MKV; wrk with two threads on the same cores."""
    peers.debian(nginx="nginx-light", wrk="wrk", fusermount3="fuse3")
    directory = scratch()
    held = []
    try:
        library = Local(run, directory, CACHE_SIZE="1GiB")
        held.append(library)
        library.store(media.wide("gateway.mkv", SEGMENTS * media.SEGMENT_SECONDS / 60 + 0.5), "film.mkv")
        addresses = segments_of(library)
        plain = os.path.join(directory, "www")
        os.mkdir(plain)
        for number, address in enumerate(addresses):
            with open(os.path.join(plain, f"{number}.m4s"), "wb") as output:
                output.write(fetch(address))
        tls = certificate(directory)
        port, tls_port, rclone_port, rclone_tls_port = peers.free_ports(4)
        nginx = peers.Nginx(plain, directory, port, tls)
        held.append(nginx)
        names = [f"/{number}.m4s" for number in range(len(addresses))]
        paths = [path_of(address) for address in addresses]
        rows = []
        for kind, nginx_port, peer_port in (("plain", port, rclone_port), ("TLS", tls_port, rclone_tls_port)):
            scheme = "http"
            if kind == "TLS":
                scheme = "https"
                library.settings |= {"SSL_CERT_PATH": tls[0], "SSL_KEY_PATH": tls[1]}
                library.remount()
            peer = peers.RcloneHttp(plain, directory, peer_port, tls if kind == "TLS" else None)
            held.append(peer)
            targets = {"nginx": (f"{scheme}://127.0.0.1:{nginx_port}", names, nginx.cpu),
                       "tgfs": (library.base, paths, library.cpu),
                       "rclone": (f"{scheme}://127.0.0.1:{peer_port}", names, peer.cpu)}
            for connections in CONNECTIONS:
                rows += turns(kind, connections, targets, directory)
        return rows
    finally:
        for one in held:
            one.close()
        shutil.rmtree(directory, ignore_errors=True)


def turns(kind, connections, targets, directory):
    """All servers by turns, so that each meets the same load."""
    figures = {name: [] for name in targets}
    for _ in range(ROUNDS):
        for name, (base, paths, cpu) in targets.items():
            figures[name].append(wrk(base, paths, connections, directory, cpu))
    rates = {name: median([one["MB/s"] for one in found]) for name, found in figures.items()}
    rows = []
    for name, found in figures.items():
        row = {"what": f"{name}, {kind}", "connections": connections}
        row |= {figure: median([one[figure] for one in found]) for figure in found[0]}
        row |= {"x nginx": rates[name] / rates["nginx"], "x rclone": rates[name] / rates["rclone"], "load": load()}
        rows.append(row)
    return rows
