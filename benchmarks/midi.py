"""MIDI files to ids: ours beside MidiTok, one process, one thread, the same files from disk.

    python benchmarks/midi.py ../shared/data/midi [--files 200] [--repeats 5]

Files are taken from every folder in proportion, those that both can read; the time is from path to ids: of MidiTok's
`MIDILike`, default but for `use_programs=True`, which reads with symusic (C++), and of the tokenizers `musenet` and
`music`, the second fitted to these files before. Below, where our time goes, and what two parsers take alone. Takes a
minute; needs `pip install miditok mido symusic`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import mido
import symusic
import torch
from machine import describe, side_by_side
from miditok import MIDILike, TokenizerConfig

from helicon.formats.midi import read_midi, read_midi_bytes
from helicon.formats.midi_bytes import scan_midi
from helicon.formats.midi_events import read_events
from helicon.formats.read_report import ReadReport
from helicon.modalities.music import MUSIC, fit_music
from helicon.tokenizers.instruments import MUSENET
from helicon.tokenizers.midi import MidiTokenizer
from helicon.tokenizers.survey import MusicSurvey

MIDITOK = "MidiTok MIDILike"


def main() -> None:
    """Prints files and tokens a second, ratios to MidiTok, and the steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=200, help="about so many, one of each folder at least")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    midilike = MIDILike(TokenizerConfig(use_programs=True))
    paths = [path for path in sample(args.folder, args.files) if readable(midilike, path)]
    print(f"{describe()}\n{len(paths)} files, {sum(path.stat().st_size for path in paths) / 1e6:.1f} MB\n")
    print_whole(paths, midilike, args.repeats)
    print_steps(paths, args.repeats)


def sample(folder: Path, count: int) -> list[Path]:
    """About so many MIDI files, evenly over each folder, from every one in proportion."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in MUSIC.suffixes)
    taken = []
    for _, group in groupby(found, key=lambda path: path.parent):
        files = list(group)
        share = min(len(files), max(1, round(len(files) * count / len(found))))
        taken += [files[i * len(files) // share] for i in range(share)]
    return taken


def readable(midilike: Any, path: Path) -> bool:
    """Whether both read the file, and find notes."""
    try:
        return len(midilike(path).ids) > 0 and len(read_midi(path)[0]) > 0
    except Exception as error:
        print(f"left out: {path.name}: {error}")
        return False


def print_whole(paths: list[Path], midilike: Any, repeats: int) -> None:
    """From path to ids."""
    surveys = [MusicSurvey.of(read_midi(path)[0]) for path in paths]
    tokenizers = {"musenet": MidiTokenizer(MUSENET), "music": fit_music(surveys)}
    ways: dict[str, Callable[[Path], Any]] = {MIDITOK: lambda path: midilike(path).ids}
    for name, tokenizer in tokenizers.items():
        ways[f"ours, `{name}`"] = lambda path, encode=tokenizer.encode: encode(read_midi(path)[0])
    taken = side_by_side({name: partial(each, way, paths) for name, way in ways.items()}, repeats)
    print("| from file to ids | of MidiTok's files a second | files a second | tokens | tokens a second |")
    print("|---|---|---|---|---|")
    for name, seconds in taken.items():
        tokens, files = sum(len(ways[name](path)) for path in paths), len(paths) / seconds
        ratio = taken[MIDITOK] / seconds
        print(f"| {name} | {ratio:.2f}x | {files:,.0f} | {tokens:,} | {tokens / seconds:,.0f} |")


def print_steps(paths: list[Path], repeats: int) -> None:
    """Each of our steps on what the one before it gave, and other parsers."""
    contents = [path.read_bytes() for path in paths]
    scores = [read_midi_bytes(data)[0] for data in contents]
    encode = MidiTokenizer(MUSENET).encode
    steps: dict[str, Callable[[], object]] = {
        "opening": partial(each, Path.read_bytes, paths),
        "parsing": partial(each, parse, contents),
        "parsing and notes": partial(each, read_midi_bytes, contents),
        "tokenising": partial(each, encode, scores),
        "symusic's parsing alone": partial(each, lambda path: symusic.Score(path), paths),
        "mido's parsing alone": partial(each, lambda path: mido.MidiFile(path, clip=True), paths),
    }
    taken = side_by_side(steps, repeats)
    taken["notes"] = taken["parsing and notes"] - taken["parsing"]
    print("\n| step | ms a file |\n|---|---|")
    for step in ("opening", "parsing", "notes", "tokenising", "symusic's parsing alone", "mido's parsing alone"):
        print(f"| {step} | {1000 * taken[step] / len(paths):.3f} |")


def parse(data: bytes) -> object:
    """Arrays of events from a file's bytes."""
    report = ReadReport()
    return read_events(scan_midi(data, report), report)


def each(way: Callable[[Any], object], things: Iterable[Any]) -> None:
    """One after the other."""
    for thing in things:
        way(thing)


if __name__ == "__main__":
    main()
