#!/usr/bin/env python3
"""strip_headers.py IN.mkv OUT.mkv: leaves the sync word 0b77 out of each frame of the AC-3 track and says so
in ContentCompSettings (Matroska header stripping, algorithm 3), as mkvmerge did by default until 2011."""
import sys

def vint(data, at, keep_marker):
    first, length = data[at], 1
    while length <= 8 and not first & (0x80 >> (length - 1)):
        length += 1
    value = int.from_bytes(data[at:at + length], 'big')
    return (value if keep_marker else value & ((1 << 7 * length) - 1)), at + length

def elements(data, at, end):
    while at < end:
        ident, body = vint(data, at, True)
        size, body = vint(data, body, False)
        yield ident, body, min(body + size, end)
        at = body + size

def element(ident, body):
    return ident.to_bytes((ident.bit_length() + 7) // 8, 'big') + (len(body) | 1 << 56).to_bytes(8, 'big') + body

STRIP = b'\x0b\x77'
def block(data, track):
    return data[:4] + data[4 + len(STRIP):] if data[0] == 0x80 | track and data[4:4 + len(STRIP)] == STRIP else data

def rewrite(data, at, end, track):
    out = b''
    for ident, start, stop in elements(data, at, end):
        body = data[start:stop]
        if ident in (0x114D9B74, 0x1C53BB6B, 0xEC, 0xBF):    # SeekHead, Cues, Void, CRC: positions no longer hold
            continue
        if ident in (0x18538067, 0x1F43B675, 0xA0, 0x1654AE6B):  # Segment, Cluster, BlockGroup, Tracks
            body = rewrite(data, start, stop, track)
        elif ident == 0xAE and b'A_AC3' in body:               # TrackEntry
            settings = element(0x4254, b'\x03') + element(0x4255, STRIP)
            body += element(0x6D80, element(0x6240, element(0x5034, settings)))
        elif ident in (0xA3, 0xA1):                            # SimpleBlock, Block
            body = block(body, track)
        out += element(ident, body)
    return out

data = open(sys.argv[1], 'rb').read()
open(sys.argv[2], 'wb').write(rewrite(data, 0, len(data), 2))
