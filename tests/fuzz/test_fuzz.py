"""Whatever a stranger's file holds, it is read or refused in one line of ours, soon and in bounded memory.

`python tests/fuzz/fuzzing.py` does the same for any number of inputs, and prints the table.
"""

from __future__ import annotations

import os
from pathlib import Path

import archive_mutators
import midi_mutator
import picture_mutators
import pytest
import sound_mutators
from fuzzing import Parser, Result, check, fuzz
from hypothesis import given, settings
from hypothesis import strategies as st
from parsers import PARSERS

MAX_MB = 300.0  # above what honest files take
MANY = 20_000

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


def sound(parser: Parser, result: Result) -> None:
    """Nothing foreign, nothing slow, nothing large; inputs get far enough to be read, and far enough off to be not."""
    assert not result.foreign, f"{parser.name}: {result.foreign[:5]}"
    assert result.peak[0] < MAX_MB, result
    assert parser.least <= result.read / result.count <= parser.most, result


@forks
@pytest.mark.parametrize("name", PARSERS)
def test_some_hundred_mutated_files(name: str) -> None:
    sound(PARSERS[name], fuzz(PARSERS[name], PARSERS[name].few))


@pytest.mark.slow
@forks
@pytest.mark.parametrize("name", PARSERS)
def test_20_000_mutated_files(name: str) -> None:
    result = fuzz(PARSERS[name], MANY)
    print(f"\n{name:12} {result}")
    sound(PARSERS[name], result)


SPLITS = {
    "midi": (midi_mutator.split, midi_mutator.join),
    "png": (picture_mutators.png_split, picture_mutators.png_join),
    "jpeg": (picture_mutators.jpeg_split, picture_mutators.jpeg_join),
    "gif": (picture_mutators.gif_split, picture_mutators.gif_join),
    "webp": (picture_mutators.riff_split, picture_mutators.riff_join),
    "tiff": (picture_mutators.tiff_split, picture_mutators.tiff_join),
    "flac": (sound_mutators.flac_split, sound_mutators.flac_join),
    "ogg": (sound_mutators.ogg_split, sound_mutators.ogg_join),
    "mp3": (sound_mutators.mp3_split, sound_mutators.mp3_join),
    "checkpoint": (archive_mutators.checkpoint_split, archive_mutators.checkpoint_join),
    "tar": (archive_mutators.tar_split, archive_mutators.tar_join),
}


@pytest.mark.parametrize("name", SPLITS)
def test_honest_files_are_taken_apart_and_put_together(name: str, tmp_path: Path) -> None:
    """Checksums and lengths come out right: what is mutated is refused, if it is, for what was changed."""
    split, join = SPLITS[name]
    path = tmp_path / f"a{PARSERS[name].suffix}"
    for seed in PARSERS[name].seeds:
        again = join(split(seed))
        if name not in ("gif", "tiff", "checkpoint", "tar"):  # which may be laid out in several ways
            assert again == seed
        path.write_bytes(again)
        assert check(PARSERS[name], path) == (True, "")


@pytest.mark.parametrize("name", PARSERS)
def test_the_same_number_makes_the_same_file(name: str) -> None:
    parser = PARSERS[name]
    assert [parser.input(number) for number in range(5)] == [parser.input(number) for number in range(5)]


@pytest.mark.parametrize("name", [name for name, parser in PARSERS.items() if parser.suffix != ".json"])
def test_every_beginning_of_a_file(name: str, tmp_path: Path) -> None:
    parser, path = PARSERS[name], tmp_path / f"of-this-file{PARSERS[name].suffix}"
    for seed in parser.seeds:
        for end in range(0, len(seed), max(1, len(seed) // 12)):
            path.write_bytes(seed[:end])
            assert check(parser, path)[1] == ""


STARTS = {
    "midi": (b"MThd", b"MThd\0\0\0\6\0\1\0\1\1\xe0MTrk", b"MThd\0\0\0\6\0\1\0\1\1\xe0MTrk\0\0\0\x40"),
    "png": (b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"RIFF\x40\0\0\0WEBPVP8 ", b"BM"),
    "tiff": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "wav": (
        b"", b"RIFF\x40\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0", b"fLaC\0\0\0\x22", b"OggS\0\2", b"ID3\3\0\0\0\0\0\0",
        b"\xff\xfb\x90\x44", b"FORM\0\0\1\0AIFFCOMM\0\0\0\x12", b".snd\0\0\0\x18", b"caff\0\1\0\0desc",
        b"riff.\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0",
    ),
    "lrc": (b"", b"[00:01]", b"[offset:"),
    "csv": (b"", b"file,text\n", b"\xef\xbb\xbffile\n"),
    "tar": (b"",),
    "checkpoint": (b"", b"PK\3\4", b"\x80\2", b"\x80\2}q\0("),
    "safetensors": (b"", b"\x08\0\0\0\0\0\0\0", b"\x02\0\0\0\0\0\0\0{}"),
}  # fmt: skip


@pytest.mark.parametrize("name", STARTS)
def test_any_bytes(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("any") / f"of-this-file{PARSERS[name].suffix}"

    @settings(max_examples=40, deadline=None, database=None)
    @given(st.sampled_from(STARTS[name]), st.binary(max_size=200))
    def reads(start: bytes, data: bytes) -> None:
        path.write_bytes(start + data)
        assert check(PARSERS[name], path)[1] == ""

    reads()
