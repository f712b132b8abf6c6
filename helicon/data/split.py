"""Split of a source into training and validation part: whole pieces, by size, that stay where they are as it grows.

A piece is the files of one stem; in preference pairs, all files that share a pair or a prompt. Where no whole piece
comes near the share, as in a folder of one book, the end of the largest text is left out, as in nanoGPT.

What is chosen depends on the names and sizes alone, and pieces that an earlier training left out stay left out.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from helicon.data.entries import Entry, FolderScan, size
from helicon.data.source import DataSource, modality_of
from helicon.formats.validation import ValidationRecord, name_hash
from helicon.modalities import registry
from helicon.sequence.layout import Layout

TOLERANCE = 0.5  # of the share: less near than that, the set is too small for pieces that are chosen by hash
MAX_SHARE_OF_PIECES = 2  # times the share: a part of many small files would not be like the others


def split(
    sizes: Mapping[str, int], share: float | None, record: ValidationRecord, trained: Collection[str] = (),
    labels: Mapping[str, str] = MappingProxyType({}), divisible: bool = False,
) -> dict[str, int]:  # fmt: skip
    """Choose the validation part, as near to its share as whole pieces allow, by the hash of their names.

    Args:
        sizes: name of each piece -> size, in bytes or in examples.
        share: of all sizes together that is wanted, 0 to 1; 0 for no validation part. None for the pieces of the record
            alone.
        record: `ValidationRecord` of an earlier training; its pieces are in the validation part.
        trained: names that must not be.
        labels: name -> label; the last piece of a label is not chosen unless there are no others.
        divisible: True if the end of a piece can be left out.

    Returns:
        Name -> first byte of it in the validation part, 0 for the whole piece. Neither part is empty, if there are two
        pieces or one that is divisible, and a share.
    """
    sizes = {name: n for name, n in sizes.items() if n}
    if share == 0:
        return {}
    chosen = {name: record[key] for name in sizes if (key := name_hash(name)) in record}
    chosen = {name: start if divisible else 0 for name, start in chosen.items() if start < sizes[name]}
    if share is None:
        return chosen
    if chosen and len(chosen) == len(sizes) and not any(chosen.values()):  # something is needed to train on
        del chosen[max(chosen, key=hash_fraction)]
    wanted, most_pieces = share * sum(sizes.values()), max(1, round(MAX_SHARE_OF_PIECES * share * len(sizes)))
    missing = wanted - sum(sizes[name] - start for name, start in chosen.items())
    left = Counter(labels.get(name) for name in sizes if name not in chosen)
    free = sorted(sizes.keys() - chosen.keys() - set(trained), key=hash_fraction)

    def choose(name: str) -> None:
        nonlocal missing
        chosen[name], missing = 0, missing - sizes[name]
        left[labels.get(name)] -= 1
        free.remove(name)

    for name in list(free):
        fits = sizes[name] <= missing + (min(missing, TOLERANCE * wanted) if divisible else missing)
        if fits and left[labels.get(name)] > 1 and len(chosen) < most_pieces:
            choose(name)
    while free and missing > TOLERANCE * wanted and (divisible or len(chosen) + 1 < len(sizes)):
        if divisible:
            largest = max(free, key=sizes.__getitem__)
            chosen[largest] = max(1, round(sizes[largest] - missing))
            break
        # `free` is in order of hashes, by which ties are decided
        choose(min(free, key=lambda name: (left[labels.get(name)] < 2, abs(sizes[name] - missing))))
    return chosen


def split_scans(
    source: DataSource, layouts: Sequence[Layout], scans: Sequence[FolderScan],
    bad: Collection[tuple[int, str]] = (),
) -> list[FolderScan]:  # fmt: skip
    """Mark the entries of the validation part, the same pieces in all layouts of a model, of each source by itself.

    Sizes are those of the files; they are the number of entries where a file is one example, whatever its size: of a
    target of fixed length, such as a picture, and for labelled examples and pairs.

    Args:
        source: `DataSource` with the share, the record of an earlier training, and the kind of examples.
        layouts: `Layout`s of the source, parsed.
        scans: a `FolderScan` of the files of each layout.
        bad: (number of its source, name) of entries that cannot be read; they are in no part.

    Returns:
        The scans, with `Entry.val_start` set.
    """
    by_origin = [
        _split_origin(source, layouts, [[e for e in s.entries if e.origin == number] for s in scans], number, bad)
        for number in range(len(source.all_origins))
    ]
    return [
        replace(scanned, entries=[entry for entries in by_origin for entry in entries[i]])
        for i, scanned in enumerate(scans)
    ]


def _split_origin(
    source: DataSource, layouts: Sequence[Layout], entries_of: Sequence[Sequence[Entry]], number: int,
    bad: Collection[tuple[int, str]],
) -> list[list[Entry]]:  # fmt: skip
    """Return the entries of one source for each layout, marked."""
    starts: dict[str, int] = {}
    trained: set[str] = set()
    pieces = [pieces_of(entries) for entries in entries_of]
    record = _record_of_origin(source, number, {piece for names in pieces for piece in names})
    for i in sorted(range(len(pieces)), key=lambda i: len(pieces[i])):  # the smallest has the least choice
        entries, layout = entries_of[i], layouts[i]
        modality = modality_of(layout.target.name, [layout])
        counted = source.examples != "sequences" or layout.target.length is not None
        sizes: Counter[str] = Counter()
        for entry, piece in zip(entries, pieces[i]):
            left_out = (number, entry.name) in bad
            sizes[piece] += 0 if left_out else 1 if counted else sum(map(size, entry.files.values()))
        known = {**record, **{name_hash(name): start for name, start in starts.items()}}
        chosen = split(
            sizes,
            source.val_split,
            known,
            trained=trained,
            labels={piece: entry.label for entry, piece in zip(entries, pieces[i]) if entry.label is not None},
            divisible=modality.divide is not None and not counted and all(len(entry.files) == 1 for entry in entries),
        )
        trained |= sizes.keys() - chosen.keys()
        starts |= chosen
    return [
        [replace(entry, val_start=starts.get(piece)) for entry, piece in zip(entries, names)]
        for entries, names in zip(entries_of, pieces)
    ]


def record_of(source: DataSource, entries: Sequence[Entry]) -> ValidationRecord:
    """Record the validation part of a source. Of several origins, the names on record begin with that of the origin.

    Args:
        source: `DataSource` of the entries.
        entries: list of `Entry`, as `split_scans` returns them.

    Returns:
        The `ValidationRecord`.
    """
    titles = [f"{origin.name}/" for origin in source.origins] or [""]
    named = zip(entries, pieces_of(entries))
    return {name_hash(titles[e.origin] + piece): e.val_start for e, piece in named if e.val_start is not None}


def _record_of_origin(source: DataSource, number: int, pieces: Collection[str]) -> ValidationRecord:
    """Return the record of one source's pieces by their names in that source alone.

    They are on record with the name of the source, if the earlier training had several, or else without.
    """
    title = f"{source.all_origins[number].name}/"
    named = {name_hash(p): source.record[key] for p in pieces if (key := name_hash(title + p)) in source.record}
    return named or source.record


def pieces_of(entries: Sequence[Entry]) -> list[str]:
    """Name the piece of each entry, which the split keeps in one part.

    The media of one stem are one piece, in every stage of a training. Preference pairs that share a prompt or a file
    are one piece (union-find).

    Args:
        entries: list of `Entry`.

    Returns:
        Name of the piece of each entry, a list as long as `entries`.
    """
    stems = [_stem(entry) for entry in entries]
    heads: dict[tuple[str, ...], tuple[str, ...]] = {}  # union-find forest: child -> parent

    def head(key: tuple[str, ...]) -> tuple[str, ...]:
        while key != (above := heads.setdefault(key, key)):
            heads[key] = heads[above]
            key = above
        return key

    for stem, entry in zip(stems, entries):
        if entry.side:
            for other in (("pair", entry.side.pair), *([("prompt", *entry.texts)] if entry.texts else ())):
                first, second = sorted((head(other), head(("file", stem))))
                heads[second] = first
    return ["\n".join(head(("file", s))) if entry.side else s for s, entry in zip(stems, entries)]


def _stem(entry: Entry) -> str:
    """Return the name of an entry without the suffix of its file, such as `.mid.gz`."""
    modality, file = next(iter(entry.files.items()))
    suffix = registry.get(modality).accepted_suffix(file.name) or file.suffix
    return entry.name[: -len(suffix)] if suffix and entry.name.lower().endswith(suffix.lower()) else entry.name


def hash_fraction(name: str) -> float:
    """Hash a name to a float in [0, 1), by which pieces are put in order."""
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:7], "big") / 2**56
