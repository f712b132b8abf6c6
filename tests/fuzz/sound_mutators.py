"""Mutators of sound files: WAV's chunks, FLAC's metadata and frames, pages of OGG, ID3 tags and frames of MP3."""

from __future__ import annotations

import struct
import zlib
from functools import lru_cache
from random import Random
from typing import NamedTuple

from mutations import blob, fields, mutator, number
from picture_mutators import Chunk, riff_join, riff_split

# --- WAV

WAV_NAMES = (b"fmt ", b"data", b"fact", b"LIST", b"ds64", b"PEAK", b"cue ", b"smpl", b"bext", b"id3 ", b"JUNK", b"xxxx")
WAV_FIELDS = {b"fmt ": "<HHLLHHHHL", b"fact": "<L", b"ds64": "<QQQL", b"PEAK": "<LL", b"smpl": "<LLLLLLLLL"}
CODECS = (0, 1, 2, 3, 6, 7, 0x11, 0x31, 0x40, 0x45, 0x55, 0x65, 0xFFFE)


def wav_edit(rng: Random, part: Chunk) -> Chunk:
    """Another name, field, codec or body."""
    name, body = part
    if name in (b"RIFF", b"RF64", b"RIFX"):
        return rng.choice((b"RIFF", b"RF64", b"RIFX")), body
    if rng.random() < 0.08:
        return rng.choice(WAV_NAMES), body
    if name == b"fmt " and rng.random() < 0.2:
        return name, struct.pack("<H", rng.choice(CODECS)) + body[2:]
    layout = WAV_FIELDS.get(name, "")
    if name == b"fmt " and len(body) < struct.calcsize(layout):
        layout = "<HHLLHH"
    return name, fields(rng, body, layout) if layout and rng.random() < 0.7 else blob(rng, body)


def wav_split(data: bytes) -> list[Chunk]:
    """Chunks, whose lengths are the file's own: of RF64, -1 stands for that of the samples."""
    parts = riff_split(data)
    return [(name, body[:1200] if name == b"data" else body) for name, body in parts]


# --- FLAC

FRAME = -1  # in place of a kind of metadata


class Piece(NamedTuple):
    """A block of metadata of a kind, or a frame."""

    kind: int
    body: bytes


@lru_cache
def crc_table(polynomial: int, bits: int) -> list[int]:
    """What each byte does to a checksum of which nothing is reflected."""
    table, top, mask = [], 1 << bits - 1, (1 << bits) - 1
    for byte in range(256):
        crc = byte << bits - 8
        for _ in range(8):
            crc = (crc << 1 ^ (polynomial if crc & top else 0)) & mask
        table.append(crc)
    return table


def crc(data: bytes, polynomial: int, bits: int) -> int:
    """The checksum that begins with 0."""
    table, value, mask = crc_table(polynomial, bits), 0, (1 << bits) - 1
    for byte in data:
        value = (value << 8 & mask) ^ table[value >> bits - 8 ^ byte]
    return value


def frame_header(frame: bytes) -> int:
    """Bytes of a frame's header before its checksum."""
    if len(frame) < 6:
        return len(frame)
    coded = next((n for n, least in ((1, 0), (2, 0xC0), (3, 0xE0), (4, 0xF0)) if frame[4] < (least or 0x80)), 5)
    size, rate = frame[2] >> 4, frame[2] & 15
    return min(4 + coded + {6: 1, 7: 2}.get(size, 0) + {12: 1, 13: 2, 14: 2}.get(rate, 0), len(frame))


def flac_split(data: bytes) -> list[Piece]:
    """Metadata, then frames, each found by where a header has the right checksum."""
    parts, at, last = [], 4, False
    while not last:
        last, size = data[at] >= 0x80, int.from_bytes(data[at + 1 : at + 4])
        parts.append(Piece(data[at] & 0x7F, data[at + 4 : at + 4 + size]))
        at += 4 + size
    starts = []
    for i in range(at, len(data) - 8):
        if data[i] == 0xFF and data[i + 1] & 0xFE == 0xF8:
            end = frame_header(data[i : i + 16])
            if crc(data[i : i + end], 0x07, 8) == data[i + end]:
                starts.append(i)
    return parts + [Piece(FRAME, data[a:b]) for a, b in zip(starts, [*starts[1:], len(data)])]


def flac_edit(rng: Random, part: Piece) -> Piece:
    """Another kind, another number of what the stream is, another stretch of a frame."""
    if part.kind == FRAME:
        if rng.random() < 0.3:
            return part._replace(body=fields(rng, part.body, ">HBBB"))
        return part._replace(body=part.body[:4] + blob(rng, part.body[4:]))
    if rng.random() < 0.1:
        return part._replace(kind=rng.choice((0, 1, 2, 3, 4, 5, 6, 7, 126, 127)))
    if part.kind == 0 and len(part.body) >= 18 and rng.random() < 0.8:
        packed = int.from_bytes(part.body[10:18])  # 20 bits rate, 3 channels, 5 bits a sample, 36 samples
        shift, bits = rng.choice(((44, 20), (41, 3), (36, 5), (0, 36)))
        new = number(rng, packed >> shift & (1 << bits) - 1, bits)
        packed = packed & ~((1 << bits) - 1 << shift) | new << shift
        return part._replace(body=part.body[:10] + packed.to_bytes(8) + part.body[18:])
    return part._replace(body=fields(rng, part.body, ">HH" if part.kind == 0 else "<L"))


@lru_cache(maxsize=256)
def framed(frame: bytes) -> bytes:
    """A frame whose two checksums are right."""
    end = frame_header(frame)
    frame = frame[:end] + bytes([crc(frame[:end], 0x07, 8)]) + frame[end + 1 :]
    return frame[:-2] + struct.pack(">H", crc(frame[:-2], 0x8005, 16))


def flac_join(parts: list[Piece]) -> bytes:
    """Metadata, the last of them marked, and frames."""
    metadata = [part for part in parts if part.kind != FRAME]
    out = [b"fLaC"]
    for i, (kind, body) in enumerate(metadata):
        out += [bytes([kind | 0x80 * (i == len(metadata) - 1)]), len(body).to_bytes(3), body]
    return b"".join([*out, *(framed(part.body) for part in parts if part.kind == FRAME)])


# --- OGG


class Page(NamedTuple):
    """flags, position, stream and number of a page; segments: packets or parts of them; open: the last one goes on."""

    flags: int
    position: int
    stream: int
    number: int
    packets: tuple[bytes, ...]
    open: bool = False


PAGE = "<4sBBqLLLB"
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
OGG_HEADS = {b"\x01vorbis": "<7sLBLLLLB", b"OpusHead": "<8sBBHLHB", b"\x03vorbis": "<7sL", b"OpusTags": "<8sL"}


def ogg_checksum(page: bytes) -> int:
    """CRC of polynomial 0x04C11DB7, nothing reflected: zlib's of bytes whose bits are reversed."""
    reflected = zlib.crc32(page.translate(REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(reflected.to_bytes(4).translate(REVERSED)[::-1])


def ogg_split(data: bytes) -> list[Page]:
    """Pages with their packets."""
    parts, at = [], 0
    while at + 27 <= len(data):
        _, _, flags, position, stream, count, _, segments = struct.unpack_from(PAGE, data, at)
        lacing, start = data[at + 27 : at + 27 + segments], at + 27 + segments
        packets, packet, at = [], b"", start
        for size in lacing:
            packet, at = packet + data[at : at + size], at + size
            if size < 255:
                packets.append(packet)
                packet = b""
        goes_on = bool(lacing) and lacing[-1] == 255
        parts.append(Page(flags, position, stream, count, (*packets, packet) if goes_on else tuple(packets), goes_on))
    return parts


def ogg_edit(rng: Random, part: Page) -> Page:
    """Another number of the page, another packet, or packets doubled and dropped."""
    match rng.randrange(10):
        case 0:
            return part._replace(flags=number(rng, part.flags, 3))
        case 1:
            return part._replace(position=number(rng, part.position, 64) - (1 << 63) * rng.randrange(2))
        case 2:
            return part._replace(stream=number(rng, part.stream, 32))
        case 3:
            return part._replace(number=number(rng, part.number, 32))
        case 4:
            return part._replace(packets=part.packets * rng.choice((0, 2)))
    if not part.packets:
        return part._replace(packets=(b"\x03vorbis" + bytes(8),))
    i = rng.randrange(len(part.packets))
    packet = part.packets[i]
    layout = next((layout for head, layout in OGG_HEADS.items() if packet.startswith(head)), "")
    packet = fields(rng, packet, layout) if layout and rng.random() < 0.7 else blob(rng, packet)
    return part._replace(packets=(*part.packets[:i], packet, *part.packets[i + 1 :]))


def ogg_join(parts: list[Page]) -> bytes:
    """With lengths and checksums; a page has at most 255 segments."""
    out = []
    for flags, position, stream, count, packets, goes_on in parts:
        position = (position + (1 << 63)) % (1 << 64) - (1 << 63)
        lacing = [size for packet in packets for size in (*[255] * (len(packet) // 255), len(packet) % 255)]
        lacing = (lacing[:-1] if goes_on and lacing and not lacing[-1] else lacing)[:255]
        body = b"".join(packets)[: sum(lacing)]
        head = [b"OggS", 0, flags, position, stream, count, 0, len(lacing)]
        page = struct.pack(PAGE, *head) + bytes(lacing) + body
        out.append(page[:22] + struct.pack("<L", ogg_checksum(page)) + page[26:])
    return b"".join(out)


# --- MP3

BIT_RATES = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0)  # kbit/s, layer III, version 1
LOW_RATES = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0)  # of versions 2 and 2.5
RATES = (44100, 48000, 32000, 0)
ID3 = b"ID3"


def mp3_split(data: bytes) -> list[bytes]:
    """Tags and frames."""
    parts, at = [], 0
    while at + 10 <= len(data):
        if data[at : at + 3] == ID3:
            size = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(data[at + 6 : at + 10], (21, 14, 7, 0)))
        else:
            version, low = data[at + 1] >> 3 & 3, not data[at + 1] & 8
            rate = (LOW_RATES if low else BIT_RATES)[data[at + 2] >> 4]
            hertz = RATES[data[at + 2] >> 2 & 3] >> {3: 0, 2: 1, 0: 2}.get(version, 0)
            size = (72 if low else 144) * rate * 1000 // max(1, hertz) + (data[at + 2] >> 1 & 1) or len(data) - at
        parts.append(data[at : at + size])
        at += size
    return parts


def mp3_edit(rng: Random, part: bytes) -> bytes:
    """Fields of a tag, of a frame's header, of the tag that says how many there are; or anything after them."""
    if part[:3] == ID3:
        return fields(rng, part, ">3sBBBL4sLH") if rng.randrange(2) else part[:10] + blob(rng, part[10:])
    if rng.randrange(3):
        at = max((part.find(tag) for tag in (b"Xing", b"Info", b"VBRI")), default=-1)
        if at >= 0 and rng.randrange(2):
            return part[:at] + fields(rng, part[at:], ">4sLLL")
        return fields(rng, part, ">HBB")
    return part[:4] + blob(rng, part[4:])


def mp3_join(parts: list[bytes]) -> bytes:
    """Tags say their size."""
    out = []
    for part in parts:
        if part[:3] == ID3 and len(part) >= 10 and part[6:10] != b"\x7f\x7f\x7f\x7f" and part[5] < 0x80:
            size = len(part) - 10
            part = part[:6] + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0)) + part[10:]
        out.append(part)
    return b"".join(out)


wav = mutator(wav_split, wav_edit, riff_join, first=1)
flac = mutator(flac_split, flac_edit, flac_join)
ogg = mutator(ogg_split, ogg_edit, ogg_join)
mp3 = mutator(mp3_split, mp3_edit, mp3_join)
