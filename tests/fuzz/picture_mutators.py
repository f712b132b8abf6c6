"""Mutators of picture files: PNG's chunks, JPEG's segments, GIF's blocks, WebP's RIFF chunks, TIFF's directories."""

from __future__ import annotations

import struct
import zlib
from functools import partial
from random import Random
from typing import NamedTuple

from mutations import blob, fields, mutator, number

Chunk = tuple[bytes, bytes]  # name, body

# --- PNG

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_NAMES = (
    b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"acTL", b"fcTL", b"fdAT", b"gAMA", b"iCCP", b"tEXt", b"zTXt",
    b"iTXt", b"eXIf", b"bKGD", b"sRGB", b"pHYs", b"cHRM", b"xxxx",
)  # fmt: skip
PNG_FIELDS = {b"IHDR": ">LLBBBBB", b"acTL": ">LL", b"fcTL": ">LLLLLHHBB", b"fdAT": ">L", b"pHYs": ">LLB"}


def png_split(data: bytes) -> list[Chunk]:
    """Chunks after the signature."""
    parts, at = [], len(SIGNATURE)
    while at < len(data):
        size = int.from_bytes(data[at : at + 4])
        parts.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    return parts


def png_edit(rng: Random, part: Chunk) -> Chunk:
    """Another name, field or body; of what is compressed also what it unpacks to."""
    name, body = part
    if rng.random() < 0.1:
        return rng.choice(PNG_NAMES), body
    if name in PNG_FIELDS and rng.random() < 0.8:
        return name, fields(rng, body, PNG_FIELDS[name])
    if name in (b"IDAT", b"fdAT", b"zTXt", b"iCCP") and rng.random() < 0.6:
        head = {b"fdAT": 4, b"zTXt": body.find(b"\0") + 2, b"iCCP": body.find(b"\0") + 2}.get(name, 0)
        try:
            raw = zlib.decompress(body[head:])
        except zlib.error:
            return name, blob(rng, body)
        return name, body[:head] + zlib.compress(raw * 300 if rng.random() < 0.05 else blob(rng, raw))
    return name, blob(rng, body)


def png_join(parts: list[Chunk]) -> bytes:
    """With lengths and checksums."""
    chunks = (struct.pack(">L", len(b)) + n + b + struct.pack(">L", zlib.crc32(n + b)) for n, b in parts)
    return SIGNATURE + b"".join(chunks)


# --- JPEG


class Segment(NamedTuple):
    """marker, body without its length, and entropy-coded data up to the next marker, of scans."""

    marker: int
    body: bytes
    coded: bytes = b""


ALONE = (0x01, *range(0xD0, 0xDA))  # markers without a length
SOF, DHT, SOS, DQT, DRI = (0xC0, 0xC1, 0xC2), 0xC4, 0xDA, 0xDB, 0xDD
JPEG_MARKERS = (*SOF, 0xC3, DHT, 0xC9, SOS, DQT, DRI, 0xDC, 0xE0, 0xE1, 0xE2, 0xEE, 0xFE, 0xD0, 0xD9, 0x01)


def jpeg_split(data: bytes) -> list[Segment]:
    """Segments after the start of the image."""
    parts, at = [], 2
    while at + 1 < len(data):
        marker = data[at + 1]
        size = 0 if marker in ALONE else int.from_bytes(data[at + 2 : at + 4])
        body, at = data[at + 4 : at + 2 + size], at + 2 + size
        end = at
        while marker == SOS and end + 1 < len(data) and (data[end] != 0xFF or data[end + 1] in (0, *range(0xD0, 0xD8))):
            end += 1
        parts.append(Segment(marker, body, data[at:end]))
        at = end
    return parts


def jpeg_edit(rng: Random, part: Segment) -> Segment:
    """Another marker, size, table or stretch of coded data."""
    if rng.random() < 0.1:
        return part._replace(marker=rng.choice(JPEG_MARKERS))
    if part.coded and rng.random() < 0.6:
        return part._replace(coded=blob(rng, part.coded, (b"\xff\0", b"\xff\xd0", b"\xff\xd7", b"\0\0", b"\xff\xff")))
    if part.marker in SOF and rng.random() < 0.7:
        return part._replace(body=fields(rng, part.body, ">BHHB"))
    if part.body and rng.random() < 0.7:  # tables, and components of frames and scans, are rows of bytes
        i = rng.randrange(len(part.body))
        return part._replace(body=part.body[:i] + bytes([number(rng, part.body[i], 8)]) + part.body[i + 1 :])
    return part._replace(body=blob(rng, part.body))


def jpeg_join(parts: list[Segment]) -> bytes:
    """With lengths."""
    out = [b"\xff\xd8"]
    for marker, body, coded in parts:
        size = b"" if marker in ALONE else struct.pack(">H", min(len(body) + 2, 65535))
        out += [bytes([0xFF, marker]), size, body[:65533], coded]
    return b"".join(out)


# --- GIF


class Block(NamedTuple):
    """kind: H header, `,` image, `!` extension, `;` end. head: what has fields. data: of sub-blocks, joined."""

    kind: bytes
    head: bytes
    data: bytes


def gif_split(data: bytes) -> list[Block]:
    """Header with the palette of the screen, then blocks."""
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    parts = [Block(b"H", data[6:at], b"")]
    while at < len(data):
        kind, start = data[at : at + 1], at + 1
        at = start + {b"!": 1, b",": 9}.get(kind, 0)
        if kind == b",":  # its palette, and the size of the first code
            at += (3 << (data[at - 1] & 7) + 1 if data[at - 1] & 0x80 else 0) + 1
        head, blocks = data[start:at], b""
        while kind in b"!," and at < len(data) and data[at]:
            blocks += data[at + 1 : at + 1 + data[at]]
            at += data[at] + 1
        at += kind in b"!,"
        parts.append(Block(kind, head, blocks))
    return parts


def gif_edit(rng: Random, part: Block) -> Block:
    """Another field, palette or stretch of codes."""
    if part.data and rng.random() < 0.5:
        return part._replace(data=blob(rng, part.data))
    layout = {b"H": "<HHBBB", b",": "<HHHHB"}.get(part.kind)
    if layout and rng.random() < 0.8:
        return part._replace(head=fields(rng, part.head, layout))
    if rng.random() < 0.1:
        return part._replace(kind=rng.choice((b"!", b",", b";", b"\0", b"H")))
    return part._replace(head=blob(rng, part.head))


def gif_join(parts: list[Block]) -> bytes:
    """With sub-blocks of at most 255 bytes."""
    out = []
    for kind, head, data in parts:
        blocks = [bytes([len(data[i : i + 255])]) + data[i : i + 255] for i in range(0, len(data), 255)]
        out += [b"GIF89a" if kind == b"H" else kind, head, *([*blocks, b"\x00"] if kind in b"!," else [])]
    return b"".join(out)


# --- RIFF, which WAV has too


def riff_split(data: bytes, order: str = "<") -> list[Chunk]:
    """The form first, as a chunk whose body is its kind; then its chunks."""
    parts, at = [(data[:4], data[8:12])], 12
    while at + 8 <= len(data):
        size = struct.unpack_from(order + "L", data, at + 4)[0]
        parts.append((data[at : at + 4], data[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2
    return parts


def riff_join(parts: list[Chunk], order: str = "<") -> bytes:
    """With lengths, and a byte after what is odd."""
    (form, kind), *rest = parts
    chunks = (name + struct.pack(order + "L", len(body)) + body + b"\0" * (len(body) % 2) for name, body in rest)
    whole = kind + b"".join(chunks)
    return form + struct.pack(order + "L", len(whole)) + whole


WEBP_NAMES = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"EXIF", b"ICCP", b"XMP ", b"xxxx")
WEBP_FIELDS = {b"VP8 ": "<3s3sHH", b"VP8L": "<BL", b"VP8X": "<BBHHBHB", b"ANIM": "<LH", b"ANMF": "<HBHBHBHBHBB"}


def webp_edit(rng: Random, part: Chunk) -> Chunk:
    """Another name, field or body."""
    name, body = part
    if rng.random() < 0.1:
        return rng.choice(WEBP_NAMES), body
    if name in WEBP_FIELDS and rng.random() < 0.5:
        return name, fields(rng, body, WEBP_FIELDS[name])
    return name, blob(rng, body)


# --- TIFF


class Entry(NamedTuple):
    """An entry of the directory, or, by its tag, the header, a strip or the offset of the next directory.

    value: bytes of its values. placed: whether they are offsets of the strips, worked out as the file is written.
    """

    tag: int
    kind: int
    count: int
    value: bytes
    placed: bool = False


HEADER, STRIP, NEXT = -1, -2, -3
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}  # by kind
TIFF_TAGS = (
    254, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 282, 284, 317, 320, 322, 323, 324, 325, 330, 338, 339,
    347, 530, 532, 700, 33723, 34377, 34665, 34675,
)  # fmt: skip
TIFF_VALUES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 32, 32773, 32946, 34925, 50000, 34712)  # compressions, photometrics, bits


def tiff_split(data: bytes) -> list[Entry]:
    """The header, the strips of the first directory, its entries, and what comes next."""
    order = "<" if data[:2] == b"II" else ">"
    at = struct.unpack_from(order + "L", data, 4)[0]
    count = struct.unpack_from(order + "H", data, at)[0]
    entries, numbers = [], {}
    for i in range(count):
        tag, kind, length = struct.unpack_from(order + "HHL", data, at + 2 + 12 * i)
        size, place = SIZES[kind] * length, at + 10 + 12 * i
        if size > 4:
            place = struct.unpack_from(order + "L", data, place)[0]
        value = data[place : place + size]
        if tag in (273, 279):
            numbers[tag] = struct.unpack(f"{order}{length}{'H' if kind == 3 else 'L'}", value)
        entries.append(Entry(tag, kind, length, value, tag == 273))
    strips = [Entry(STRIP, 0, 0, data[a : a + n]) for a, n in zip(numbers[273], numbers[279])]
    return [Entry(HEADER, 0, 0, data[:4]), *strips, *entries, Entry(NEXT, 0, 0, bytes(4))]


def tiff_edit(rng: Random, part: Entry) -> Entry:
    """Another tag, kind, count or value."""
    if part.tag in (HEADER, STRIP):
        return part._replace(value=blob(rng, part.value)) if part.tag == STRIP or rng.random() < 0.1 else part
    if part.tag == NEXT:
        return part._replace(value=struct.pack("<L", number(rng, 8, 32)))
    match rng.randrange(8):
        case 0:
            return part._replace(tag=rng.choice(TIFF_TAGS))
        case 1:
            return part._replace(kind=rng.choice((*SIZES, 0, 14, 17, 255)))
        case 2:
            return part._replace(count=number(rng, part.count, 32))
        case 3:
            return part._replace(value=blob(rng, part.value), placed=False)
    code, bits = {3: ("<H", 16), 4: ("<L", 32)}.get(part.kind, ("<B", 8))
    size = bits // 8
    if len(part.value) < size:
        return part._replace(value=bytes(8))
    at = rng.randrange(len(part.value) // size) * size
    small = rng.choice(TIFF_VALUES) if rng.randrange(2) else number(rng, part.value[at], bits)
    value = part.value[:at] + struct.pack(code, small % (1 << bits)) + part.value[at + size :]
    return part._replace(value=value, placed=False)


def tiff_join(parts: list[Entry]) -> bytes:
    """Header, strips, the directory, and the values that it has no room for."""
    header = next((part.value for part in parts if part.tag == HEADER), b"II*\0")
    following = next((part.value for part in parts if part.tag == NEXT), bytes(4))
    order = ">" if header[:2] == b"MM" else "<"
    out, starts = bytearray(header[:4].ljust(4, b"\0") + bytes(4)), []
    for part in parts:
        if part.tag == STRIP:
            starts.append(len(out))
            out += part.value + b"\0" * (len(part.value) % 2)
    entries = sorted((part for part in parts if part.tag >= 0), key=lambda part: part.tag)
    out[4:8] = struct.pack(order + "L", len(out))
    room = len(out) + 6 + 12 * len(entries)
    directory, after = struct.pack(order + "H", len(entries) & 0xFFFF), b""
    for tag, kind, count, value, placed in entries:
        if placed:
            code = "H" if kind == 3 else "L"
            value = struct.pack(f"{order}{len(starts)}{code}", *(start & 0xFFFF for start in starts))
        if len(value) > 4:
            value, after = struct.pack(order + "L", room + len(after)), after + value + b"\0" * (len(value) % 2)
        directory += struct.pack(order + "HHL", tag, kind, count) + value.ljust(4, b"\0")
    return bytes(out) + directory + following + after


png = mutator(png_split, png_edit, png_join)
jpeg = mutator(jpeg_split, jpeg_edit, jpeg_join)
gif = mutator(gif_split, gif_edit, gif_join)
webp = mutator(riff_split, webp_edit, partial(riff_join, order="<"), first=1)
tiff = mutator(tiff_split, tiff_edit, tiff_join, moves=0.15)
