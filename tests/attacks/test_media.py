"""Files of a stranger that are small and ask for much: each ends at once, read or refused in one line."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from harness import Outcome, attempt, posix
from PIL import Image

from helicon.modalities import registry
from helicon.tokenizers.lyrics import LyricsTokenizer, timed_lines
from helicon.tokenizers.text import LONGEST_WORD, BpeTokenizer, _parts

pytestmark = posix
# Their files take seconds to make, or their reading is of the order of what is allowed
SLOW = {
    "progressive", "square.png", "deep.png", "profile.png", "exif.webp", "numbers.tif", "garbage.gif", "runs.bmp",
    "blocks.gif", "idats.png", "chunks.png", "scans of little", "strips.tif", "fast silence", "silence", "tracks",
    "notes",    "tempos", "running", "texts", "many times", "times x lines",
}  # fmt: skip


def some(names: Iterable[str]) -> list[Any]:
    """Names as parameters, those of slow cases marked."""
    return [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in names]


def read(medium: str, path: Path, **options: Any) -> Outcome:
    """How reading a file as a medium ends, what is made of it left aside."""

    def run() -> str:
        media, _ = registry.get(medium).read(path, options=options)
        return type(media).__name__

    return attempt(run)


def sparse(path: Path, size: int, head: bytes = b"") -> Path:
    """A file that claims a size and takes none on the disk."""
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size)
    return path


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, extra: bytes = b"", colour: int = 2, depth: int = 8) -> bytes:
    """A PNG of zeros, its rows compressed a thousand to one."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    packer = zlib.compressobj(9)
    row = bytes(1 + width * channels * depth // 8)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + extra + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def progressive(scans: int, side: int = 2048) -> bytes:
    """A progressive JPEG whose last scan is there many times over: each goes through all of its coefficients."""
    out = io.BytesIO()
    Image.new("RGB", (side, side), "white").save(out, "JPEG", progressive=True, quality=5)
    data = out.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + data[-2:]


def gif(frames: int) -> bytes:
    """A GIF of one pixel that is shown on and on."""
    frame = b"\x2c" + struct.pack("<4HB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes(6) + frame * frames + b"\x3b"


def tiff(ifds: int, loop: bool = False, strips: int = 1) -> bytes:
    """A TIFF of many pages, each of one pixel, or of one of many strips."""
    tags = [(256, 4, 1, 1), (257, 4, 1, strips), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8),
            (277, 3, 1, 1), (278, 4, 1, 1), (279, 4, 1, 1)]  # fmt: skip
    size = 2 + 12 * len(tags) + 4
    out = bytearray(b"II*\0" + struct.pack("<I", 16) + bytes(8))
    for i in range(ifds):
        following = 16 + size * (i + 1) if i < ifds - 1 else 16 * loop
        end = 16 + size * ifds
        out += struct.pack("<H", len(tags))
        for tag, kind, count, value in tags:
            if strips > 1 and tag in (273, 279):
                count, value = strips, end + (tag == 279) * 4 * strips
            out += struct.pack("<HHII", tag, kind, count, value)
        out += struct.pack("<I", following)
    return bytes(out) + struct.pack("<I", 8) * strips + struct.pack("<I", 1) * strips


def webp_canvas(side: int) -> bytes:
    """An animated WebP whose canvas is that large, which the decoder asks for before it tells its size."""
    vp8x = b"VP8X" + struct.pack("<I", 10) + bytes([2, 0, 0, 0]) + (side - 1).to_bytes(3, "little") * 2
    out = io.BytesIO()
    Image.new("RGB", (1, 1)).save(out, "WEBP", lossless=True)
    frame = out.getvalue()[12:]
    anmf_data = bytes(6) + bytes(6) + bytes(3) + b"\0" + frame
    body = vp8x + b"ANIM" + struct.pack("<I", 6) + bytes(6)
    body += b"ANMF" + struct.pack("<I", len(anmf_data)) + anmf_data
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def midi(tracks: list[bytes], kind: int = 1, division: int = 1) -> bytes:
    """A MIDI file of these tracks."""
    chunks = b"".join(b"MTrk" + struct.pack(">I", len(track)) + track for track in tracks)
    return b"MThd" + struct.pack(">LHHH", 6, kind, len(tracks), division) + chunks


def exif(entries: int = 65_535, bytes_each: int = 1 << 20) -> bytes:
    """A TIFF directory whose entries are all the same stretch of the file, which each makes its own."""
    values = 10 + 12 * entries
    table = b"".join(struct.pack("<HHII", 1000 + i % 60_000, 7, bytes_each, values) for i in range(entries))
    return b"II*\0" + struct.pack("<IH", 8, entries) + table + bytes(4 + bytes_each)


def numbers_tag(count: int) -> bytes:
    """A TIFF one of whose tags has that many numbers."""
    tags = [(256, 4, 1, 1), (257, 4, 1, 1), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8),
            (277, 3, 1, 1), (278, 4, 1, 1), (279, 4, 1, 1), (700, 1, count, 200)]  # fmt: skip
    table = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + table + bytes(4)
    return head.ljust(200, b"\0") + bytes(count)


def bmp_runs(runs: int) -> bytes:
    """A run-length coded BMP whose runs get nowhere: each moves by nothing."""
    side = 4000
    palette = bytes(4 * 256)
    data = b"\0\2\0\0" * runs + b"\0\1"
    head = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(data), 0, 0, 256, 0)
    offset = 14 + len(head) + len(palette)
    return b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + head + palette + data


def gif_blocks(count: int) -> bytes:
    """A GIF that has comments of one letter before its picture."""
    return gif(0)[:-1] + b"\x21\xfe" + b"\1a" * count + b"\0" + gif(1)[19:]


def jpeg_pad(scans: int) -> bytes:
    """A picture of 8 x 8 pixels with a great many scans."""
    return progressive(scans, 8)


def webp_exif(data: bytes) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (1, 1)).save(out, "WEBP", lossless=True, exif=data)
    return out.getvalue()


LONG_AGO = midi([b"\x00\xff\x51\x03\xff\xff\xff\x00\x90\x3c\x40\xff\xff\xff\x7f\x3c\x00\x00\xff\x2f\x00"])
PICTURES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "progressive": (".jpg", lambda: progressive(1000)),
    "square.png": (".png", lambda: png(8000, 8000)),
    "deep.png": (".png", lambda: png(8000, 8000, colour=6, depth=16)),
    "chunks.png": (".png", lambda: png(4, 4, _chunk(b"teXt", b"") * 1_000_000)),
    "texts.png": (".png", lambda: png(4, 4, _chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 20))) * 1000)),
    "profile.png": (".png", lambda: png(4, 4, _chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(1 << 30), 1)))),
    "frames.gif": (".gif", lambda: gif(1_000_000)),
    "pages.tif": (".tif", lambda: tiff(50_000)),
    "loop.tif": (".tif", lambda: tiff(3, loop=True)),
    "strips.tif": (".tif", lambda: tiff(1, strips=60_000)),
    "scans of little": (".jpg", lambda: jpeg_pad(1_000_000)),
    "idats.png": (".png", lambda: png(4, 4, _chunk(b"IDAT", b"") * 1_000_000)),
    "exif.png": (".png", lambda: png(4, 4, _chunk(b"eXIf", exif()))),
    "exif.webp": (".webp", lambda: webp_exif(b"Exif\0\0" + exif())),
    "exif.tif": (".tif", exif),
    "numbers.tif": (".tif", lambda: numbers_tag(100_000_000)),
    "runs.bmp": (".bmp", lambda: bmp_runs(3_000_000)),
    "blocks.gif": (".gif", lambda: gif_blocks(10_000_000)),
    "garbage.gif": (".gif", lambda: gif(0)[:-1] + bytes(50_000_000)),
    "little progressive": (".jpg", lambda: progressive(5000, 512)),
    "large.png": (".png", lambda: png(6000, 6000, colour=6)),
    "little numbers.tif": (".tif", lambda: numbers_tag(30_000_000)),
    "canvas.webp": (".webp", lambda: webp_canvas(16_000)),
}  # fmt: skip


REFUSED = {
    "progressive": "in all of its scans", "little progressive": "in all of its scans",
    "numbers.tif": "tags of more than", "little numbers.tif": "tags of more than",
    "large.png": "288,000,000 bytes", "deep.png": "512,000,000 bytes",
}  # fmt: skip


@pytest.mark.parametrize("name", some(PICTURES))
def test_pictures(name: str, tmp_path: Path) -> None:
    suffix, make = PICTURES[name]
    path = tmp_path / f"a{suffix}"
    path.write_bytes(make())
    ended = read("image", path)
    print(name, path.stat().st_size, "bytes:", ended)
    ended.is_cheap()
    assert ended.kind in ("", "ImageError"), ended
    assert ended.kind or ended.value, ended
    assert REFUSED.get(name, "") in ended.error


LYRICS = {
    "times x lines": "[00:01]" * 20_000 + "la\n" + "x\n" * 20_000,
    "few times x lines": "[00:01]" * 4000 + "la\n" + "x\n" * 4000,
    "many times": "[00:01]" * 200_000 + "la\n",
    "equal times": "[00:01]la\n" * 100_000,
    "long line": "[00:01]" + "la " * 500_000,
    "spaces": "[00:01]" + " " * 1_000_000 + "\n" + "[a:" + " " * 1_000_000,
    "brackets": "[" * 1_000_000,
    "facts": "[00:01]la\n" + "[a:b]\n" * 600_000,
    "plain lines": "[00:01]la\n" + "\n" * 3_000_000,
    "times of one line": "[00:01]" * 590_000 + "la\n",
    "offset": "[offset:" + "9" * 100_000 + "]\n[00:01]la\n",
}


@pytest.mark.parametrize("name", some(LYRICS))
def test_lyrics(name: str) -> None:
    ended = attempt(lambda: len(timed_lines(LYRICS[name])))
    print(name, len(LYRICS[name]), "bytes:", ended)
    ended.is_cheap()
    assert ended.value, ended

    def slid() -> int:
        tokenizer = LyricsTokenizer()
        return len(tokenizer.slide(tokenizer.encode(LYRICS[name]), 0.0, 5.0, 100.0, 256))

    ended = attempt(slid)
    print(name, "slide", len(LYRICS[name]), "bytes:", ended)
    ended.is_cheap()
    assert ended.value, ended


def _notes(count: int, delta: bytes) -> bytes:
    return b"".join(delta + bytes([0x90, i % 128, 64]) for i in range(count)) + b"\0\xff\x2f\0"


MIDIS: dict[str, Callable[[], bytes]] = {
    "142 years": lambda: LONG_AGO,
    "patterns": lambda: midi([b"\0\xff\x2f\0"] * 32_767, kind=2),
    "tracks": lambda: midi([b"\0\x90\x3c\x40\0\xff\x2f\0"] * 32_767),
    "notes": lambda: midi([_notes(900_000, b"\0")]),
    "programs": lambda: midi(
        [b"".join(bytes([0, 0xC0, p, 0, 0x90]) + b"".join(bytes([n, 64, 0]) for n in range(128)) for p in range(128))
         + b"\x8f\x7f\x80\x3c\0\0\xff\x2f\0"]
    ),
    "tones": lambda: midi(  # each of them long, and another one
        [b"\0\xff\x51\3\x0f\x42\x40\0\xc0\x30" + b"".join(bytes([0, 0x90, n, 64]) for n in range(20, 86))
         + b"\x1e" + b"".join(bytes([0x80, n, 0, 0]) for n in range(20, 86)) + b"\xff\x2f\0"]
    ),
    "far notes": lambda: midi([_notes(1000, b"\xff\xff\xff\x7f")]),
    "tempos": lambda: midi([b"\0\xff\x51\x03\0\0\x01" * 500_000 + b"\0\x90\x3c\x40\0\xff\x2f\0"]),
    "running": lambda: midi([b"\0\x90\x3c\x40" + b"\0\x3c\x40" * 1_200_000]),
    "metres": lambda: midi([b"\0\xff\x58\4\4\2\x18\x08" * 400_000 + b"\0\x90\x3c\x40\0\xff\x2f\0"]),
    "bends": lambda: midi([b"\0\xe0\0\x40" + b"\0\0\x40" * 1_200_000 + b"\0\x90\x3c\x40\0\xff\x2f\0"]),
    "names": lambda: midi([b"\0\xff\3\5hello\0\x90\x3c\x40\0\xff\x2f\0"] * 32_767),
    "parts": lambda: midi([b"\0\xc0\5\0\x90\x3c\x40\0\xff\x2f\0"] * 32_767),
    "texts": lambda: midi([b"\0\xff\x01\x00" * 900_000 + b"\0\x90\x3c\x40\0\xff\x2f\0"]),
}  # fmt: skip


@pytest.mark.parametrize("name", some(MIDIS))
def test_midi(name: str, tmp_path: Path) -> None:
    """Read, surveyed, encoded, and shown."""
    path = tmp_path / "a.mid"
    path.write_bytes(MIDIS[name]())
    music = registry.get("music")

    def encoded() -> int:
        score, _ = music.read(path)
        music.survey(score)
        tokenizer = registry.spec("music", "musenet").fit([])
        return len(tokenizer.encode(score))

    def shown() -> int:
        music.preview(music.read(path)[0], tmp_path / "shown.mid")
        return (tmp_path / "shown.wav").stat().st_size

    for what in (encoded, shown):
        ended = attempt(what)
        print(name, path.stat().st_size, what.__name__, "bytes:", ended)
        ended.is_cheap()
        assert ended.kind in ("", "MidiError", "ValueError"), ended


def _long_word() -> None:
    BpeTokenizer.train(["a" * 20_000_000], 512)


def test_byte_pairs_of_one_long_word() -> None:
    ended = attempt(_long_word)
    print("bytes:", ended)
    ended.is_cheap()
    assert not ended.kind, ended


@pytest.mark.parametrize(
    ("medium", "name"),
    [("text", "a.txt"), ("text", "a.md"), ("lyrics", "a.lrc"), ("music", "a.mid"), ("image", "a.png")],
)
def test_sparse_files(medium: str, name: str, tmp_path: Path) -> None:
    path = sparse(tmp_path / name, 5 << 30)
    ended = read(medium, path)
    print(name, "bytes:", ended)
    ended.is_refusal("5,368,709,120 bytes")


def flac(seconds: float, rate: int = 8000, channels: int = 1) -> bytes:
    """Silence, of which a minute takes a hundred bytes or so."""
    out = io.BytesIO()
    with soundfile.SoundFile(out, "w", rate, channels, format="FLAC", subtype="PCM_16", compression_level=1.0) as file:
        for _ in range(int(seconds)):
            file.write(np.zeros((rate, channels), np.int16))
    return out.getvalue()


def wav(rate: int, frames: int, channels: int = 1, bits: int = 8) -> bytes:
    data = bytes(frames * channels * bits // 8)
    fmt = struct.pack("<HHIIHH", 1, channels, rate, rate * channels * bits // 8, channels * bits // 8, bits)
    body = b"WAVEfmt " + struct.pack("<I", 16) + fmt + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


SOUNDS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "half an hour": (".flac", lambda: flac(1800, 96_000)),
    "slow": (".wav", lambda: wav(100, 1_400_000)),
    "fast": (".wav", lambda: wav(4_000_000_000, 1000)),
    "silence": (".flac", lambda: flac(4 * 3600 - 1)),
    "fast silence": (".flac", lambda: flac(600, 192_000, 8)),
    "channels": (".wav", lambda: wav(8000, 1_000_000, 64)),
    "one hertz": (".wav", lambda: wav(1, 1000)),
}


@pytest.mark.parametrize("name", some(SOUNDS))
def test_sounds(name: str, tmp_path: Path) -> None:
    suffix, make = SOUNDS[name]
    path = tmp_path / f"a{suffix}"
    path.write_bytes(make())
    ended = read("audio", path)
    print(name, path.stat().st_size, "bytes:", ended)
    ended.is_cheap()
    assert ended.kind in ("", "AudioError"), ended
    assert ended.kind or ended.value, ended


def test_more_is_read_where_one_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    text = registry.get("text")
    assert "(--data.max_mb)" in read("text", tmp_path / "a.txt", max_mb=0).error
    with pytest.raises(ValueError, match="more than the 134,217,728 that a file of text may have"):
        text.check_size(200 << 20)
    text.check_size(200 << 20, {"max_mb": 300})


def test_long_words_one_after_another() -> None:
    """Each a little shorter than what is cut."""
    text = ("a" * (LONGEST_WORD - 1) + " ") * 64
    ended = attempt(lambda: len(_parts(text)))
    ended.is_cheap()
    assert ended.value == "1"
