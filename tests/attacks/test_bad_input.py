"""Bad input in folders, caches and shards: skipped with the reason or refused in one line, and never waited for."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from harness import attempt, posix
from PIL import Image

from helicon.data.corpus import CorpusError, read_corpus
from helicon.data.entries import DataError
from helicon.data.files import scan
from helicon.data.prepare import prepare
from helicon.data.prepared import Prepared
from helicon.data.source import DataSource
from helicon.demos.composer import write_folder
from helicon.modalities import registry
from helicon.tokenizers.text import BpeTokenizer, BytesTokenizer

pytestmark = posix


def source(tmp_path: Path, layout: str = "text", manifest: str | None = None, **tokenizers: str) -> DataSource:
    """The folder `data`, its cache beside it."""
    where = tmp_path / "data"
    where.mkdir(exist_ok=True)
    options = {"size": 8} if "image" in layout else {}
    return DataSource(
        path=where,
        layouts=(layout,),
        tokenizers=tokenizers,
        options=options,
        manifest=where / manifest if manifest else None,
        cache=tmp_path / "cache",
    )


def built(tmp_path: Path) -> tuple[DataSource, Path]:
    """A source of two texts, and the folder of its cache."""
    asked = source(tmp_path, text="bytes")
    for name in "ab":
        (asked.path / f"{name}.txt").write_text(f"the text {name}")
    prepare(asked)
    (folder,) = (tmp_path / "cache").iterdir()
    return asked, folder


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _sparse(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(1 << 40)


SPOILT: dict[str, Callable[[Path], object]] = {
    "fifo": _fifo,
    "zero": _link,
    "sparse": _sparse,
    "nested": lambda path: path.write_bytes(b"[" * 50_000_000),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "gone": Path.unlink,
    "flipped": lambda path: path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:]),
}


@pytest.mark.parametrize("how", SPOILT)
@pytest.mark.parametrize("name", ["prepared.json", "0/corpus.json", "0/text.ids.npy", "0/text.offsets.npy"])
def test_a_spoilt_cache_is_built_again(name: str, how: str, tmp_path: Path) -> None:
    asked, folder = built(tmp_path)
    SPOILT[how](folder / name)
    ended = attempt(lambda: prepare(asked).files)
    ended.is_cheap()
    assert ended.value == "2", ended
    assert read_corpus(folder / "0").tokens(val=False)


def test_a_cache_names_no_files_elsewhere(tmp_path: Path) -> None:
    _, folder = built(tmp_path)
    index = json.loads((folder / "0" / "corpus.json").read_text())
    secret = tmp_path / "secret.ids.npy"
    secret.write_bytes((folder / "0" / "text.ids.npy").read_bytes())
    index["checksums"] = {"../../../secret.ids.npy": zlib.crc32(secret.read_bytes())}
    (folder / "0" / "corpus.json").write_text(json.dumps(index))
    with pytest.raises(CorpusError, match="no name of a shard"):
        read_corpus(folder / "0")


def picture(kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(out, kind)
    return out.getvalue()


def huge_png() -> bytes:
    head = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    start = picture()[:8] + struct.pack(">I", 13) + b"IHDR" + head + struct.pack(">I", zlib.crc32(b"IHDR" + head))
    return start + picture()[33:]


def wav(claims: int, channels: int = 1, frames: int = 4000) -> bytes:
    fmt = struct.pack("<HHIIHH", 1, channels, 8000, 16000, (2 * channels) & 0xFFFF, 16)
    data = b"WAVEfmt " + struct.pack("<I", 16) + fmt + b"data" + struct.pack("<I", claims) + b"\1\0" * frames
    return b"RIFF" + struct.pack("<I", claims) + data


def good_sound() -> bytes:
    out = io.BytesIO()
    soundfile.write(out, np.zeros(800), 8000, format="WAV")
    return out.getvalue()


MIXED: dict[str, tuple[str, dict[str, Callable[[], bytes]], dict[str, str]]] = {
    "music": (
        "music",
        {
            "cut.mid": lambda: b"MThd\0\0",
            "long.mid": lambda: b"MThd\xff\xff\xff\xff\0\0\0\1\0\x60",
            "text.mid": lambda: b"x",
        },
        {"cut.mid": "ends inside its header", "long.mid": "no track", "text.mid": "no MThd header"},
    ),
    "pictures": (
        "image",
        {"a.png": picture, "huge.png": huge_png, "tiff.png": lambda: picture("TIFF"), "eps.png": lambda: picture("EPS"),
         "cut.png": lambda: picture()[:40]},
        {"huge.png": "more than a picture may have", "tiff.png": "a TIFF file named .png", "eps.png": "PostScript",
         "cut.png": "broken PNG"},
    ),
    "sounds": (
        "audio",
        {"a.wav": good_sound, "many.wav": lambda: wav(8000, 60_000), "huge.wav": lambda: wav(0xFFFFFFF0)},
        {"many.wav": "WAV file"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("medium", MIXED)
def test_bad_files_are_skipped_and_the_rest_is_read(medium: str, tmp_path: Path) -> None:
    layout, files, reasons = MIXED[medium]
    asked = source(tmp_path, layout)
    if medium == "music":
        write_folder(asked.path, 2, seed=0)
    for name, data in files.items():
        (asked.path / name).write_bytes(data())

    def run() -> tuple[int, dict[str, str], str]:
        found = prepare(asked)
        return found.files, found.skipped, found.summary()

    ended = attempt(run)
    print(ended)
    ended.is_cheap()
    files_read, skipped, summary = eval(ended.value)
    assert files_read == (2 if medium != "pictures" else 1)
    assert {Path(name).name for name in skipped} == set(reasons)
    for name, reason in reasons.items():
        assert reason in skipped[str(asked.path / name)]
    assert f"{files_read} read, {len(reasons)} skipped" in summary
    assert all(len(reason) <= 200 and reason.isprintable() for reason in skipped.values())


class Runs:
    """What a pickle runs."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("ran",)


@pytest.mark.parametrize("name", ["a.pkl", "a.PKL", "a.pickle", "a.pth", "a.txt.pkl", "a.pyd"])
def test_pickles_of_a_shard_are_refused(name: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked = source(tmp_path, text="bytes")
    with tarfile.open(asked.path / "s.tar", "w") as tar:
        for member, data in ((name, pickle.dumps(Runs())), ("b.txt", b"text")):
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    found = prepare(asked)
    assert list(found.skipped.values()) == ["pickle in a shard: refused"]
    assert found.files == 1
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("medium", ["text", "music", "image", "audio"])
def test_nothing_to_train_on_names_the_folder_and_the_suffixes(medium: str, tmp_path: Path) -> None:
    asked = source(tmp_path, medium)
    with pytest.raises(DataError) as fault:
        prepare(asked)
    assert str(asked.path) in str(fault.value)
    assert registry.get(medium).suffixes[0] in str(fault.value)
    with pytest.raises(DataError, match="no such file"):
        scan(tmp_path / "nowhere", [registry.get(medium)])


CAPTIONS = {
    "emoji": "a \U0001f469‍\U0001f52c and \U0001f3f4",
    "right to left": "‮تفاحة חמראء",
    "nul": "a\0b",
    "escape": "\x1b]0;title\x07 \x1b[31m",
    "long": "apple " * 180_000,
    "spaces": "a" + " " * 1_000_000 + "b",
}


@pytest.mark.parametrize("where", ["manifest", "file"])
@pytest.mark.parametrize("name", CAPTIONS)
@pytest.mark.parametrize("tokenizer", ["bytes", pytest.param("bpe", marks=pytest.mark.slow)])
def test_captions_come_back_byte_for_byte(tokenizer: str, name: str, where: str, tmp_path: Path) -> None:
    text = CAPTIONS[name]
    layout = f"text[{2_000_000 if name in ('long', 'spaces') else 100}] image"
    asked = source(tmp_path, layout, "m.jsonl" if where == "manifest" else None, text=tokenizer, image="rgb")
    (asked.path / "a.png").write_bytes(picture())
    if where == "manifest":
        (asked.path / "m.jsonl").write_text(json.dumps({"file": "a.png", "text": text}))
    else:
        (asked.path / "a.txt").write_text(text, encoding="utf-8")

    def run() -> str:
        found = prepare(asked)
        ids = found.corpora[0].example(0)["text"]
        return ascii(found.tokenizers["text"].decode(ids) == " ".join(text.split()))

    ended = attempt(run)
    ended.is_cheap()
    assert ended.value == "'True'", ended


def test_half_of_a_surrogate_pair_is_named(tmp_path: Path) -> None:
    asked = source(tmp_path, "text[8] image", "m.jsonl", text="bytes", image="rgb")
    for name in "ab":
        (asked.path / f"{name}.png").write_bytes(picture())
    (asked.path / "m.jsonl").write_text('{"file": "a.png", "text": "\\ud800"}\n{"file": "b.png", "text": "fine"}')
    found: Prepared = prepare(asked)
    assert found.files == 1
    assert list(found.skipped.values()) == ["its text is not a string of Unicode characters"]
    for tokenizer in (BytesTokenizer(), BpeTokenizer.train(["a"], 256)):
        with pytest.raises(ValueError, match=r"U\+D800"):
            tokenizer.encode("\ud800")
