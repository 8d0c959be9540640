"""Small strict readers of PDF and baseline JPEG, written apart from the writers that they judge."""

import re
import struct
import zlib


def pdf_objects(data):
    """The objects of a PDF by number, found by its cross-reference table alone."""
    start = int(re.search(rb"startxref\n(\d+)\n%%EOF\n\Z", data)[1])
    size = int(re.match(rb"xref\n0 (\d+)\n", data[start:])[1])
    entries = data[start:].split(b"\n", 2)[2]
    found = {}
    for number in range(1, size):
        offset, kind = int(entries[number * 20 : number * 20 + 10]), entries[number * 20 + 10 : number * 20 + 20]
        assert kind == b" 00000 n \n"
        head = b"%d 0 obj\n" % number
        assert data[offset : offset + len(head)] == head
        found[number] = data[offset + len(head) : data.index(b"\nendobj\n", offset)]
    return found


def stream(body):
    dictionary, _, rest = body.partition(b"\nstream\n")
    length = int(re.search(rb"/Length (\d+)", dictionary)[1])
    assert rest[length:] == b"\nendstream"
    return zlib.decompress(rest[:length]) if b"/FlateDecode" in dictionary else rest[:length]


def jpeg_segments(data):
    """The marker segments up to the start of the scan by marker, and the entropy-coded data."""
    at, segments = 2, {}
    while 0xFFDA not in segments:
        marker, length = struct.unpack_from(">HH", data, at)
        segments.setdefault(marker, []).append(data[at + 4 : at + 2 + length])
        at += 2 + length
    assert data.endswith(b"\xff\xd9")
    return segments, data[at:-2].replace(b"\xff\0", b"\xff")


def huffman(definition):
    code, table, symbols = 0, {}, iter(definition[17:])
    for bits, count in enumerate(definition[1:17], 1):
        for _ in range(count):
            table[f"{code:0{bits}b}"] = next(symbols)
            code += 1
        assert code < 1 << bits, "a code of ones only is not allowed"
        code <<= 1
    return table


class Bits:
    def __init__(self, data):
        self.text, self.place = "".join(f"{byte:08b}" for byte in data), 0

    def take(self, count):
        self.place += count
        assert self.place <= len(self.text)
        return self.text[self.place - count : self.place]

    def symbol(self, table):
        code = self.take(1)
        while code not in table:
            assert len(code) < 16
            code += self.take(1)
        return table[code]

    def level(self, table):
        raw = self.take(self.symbol(table))
        return 0 if not raw else int(raw, 2) if raw[0] == "1" else int(raw, 2) - (1 << len(raw)) + 1

    def skip_block(self, table):
        position = 1
        while position < 64 and (run := self.symbol(table)):
            position += (run >> 4) + 1
            self.take(run & 15)
        assert position <= 64
