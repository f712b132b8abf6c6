"""A folder to examples: which files belong together, their labels, and which are held out."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from helicon.modalities.base import Modality


class DataError(ValueError):
    """A folder or manifest that cannot be trained on; the message names it and says what would be accepted."""


@dataclass(frozen=True)
class Entry:
    """One example: name relative to the root without suffix, a file for each modality, label, texts of a manifest."""

    name: str
    files: dict[str, Path]
    label: str | None = None
    texts: tuple[str, ...] = ()

    @property
    def stamps(self) -> list[Any]:
        """What the token cache depends on: each file's suffix, size and time of change, the label and the texts."""
        stats = {m: (p.suffix, p.stat().st_size, p.stat().st_mtime_ns) for m, p in sorted(self.files.items())}
        return [self.name, stats, self.label, self.texts]


@dataclass
class Scan:
    """Entries in order of name, and the files that were passed over with the reason."""

    entries: list[Entry]
    skipped: dict[str, str] = field(default_factory=dict)


def scan(root: Path, modalities: Sequence[Modality], manifest: Path | None = None) -> Scan:
    """Finds the examples that have a file of each modality, by equal stem in the same folder, searched recursively.

    The label is the name of the first folder below the root. A manifest (CSV or JSONL with the columns `file` and
    optionally `label` and `text`) lists the files instead. DataError when nothing is found.
    """
    if not root.exists():
        raise DataError(f"{root}: no such file or folder")
    found = _from_manifest(root, modalities, manifest) if manifest else _from_folder(root, modalities)
    if not found.entries:
        suffixes = "; ".join(f"{m.name}: {' '.join(sorted(m.suffixes))}" for m in modalities)
        pairs = " as pairs of equal stem" if len(modalities) > 1 else ""
        raise DataError(f"{manifest or root}: no files to train on{pairs}; accepted suffixes are {suffixes}")
    return found


def _from_folder(root: Path, modalities: Sequence[Modality]) -> Scan:
    files: dict[str, dict[str, Path]] = {}
    skipped: dict[str, str] = {}
    base = root if root.is_dir() else root.parent
    for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
        modality = next((m for m in modalities if path.suffix.lower() in m.suffixes), None)
        relative = path.relative_to(base)
        if modality is None or not path.is_file() or any(part.startswith(".") for part in relative.parts):
            continue
        # Alone, two files of one stem (a.mid, a.midi) are two examples; in pairs the stem is what joins them.
        name = relative.with_suffix("").as_posix() if len(modalities) > 1 else relative.as_posix()
        files.setdefault(name, {})[modality.name] = path
    entries = []
    for name, group in sorted(files.items()):
        missing = [m.name for m in modalities if m.name not in group]
        if missing:
            skipped.update({str(p): f"no {' or '.join(missing)} file of the same stem" for p in group.values()})
        else:
            parts = name.split("/")
            entries.append(Entry(name, group, parts[0] if len(parts) > 1 else None))
    return Scan(entries, skipped)


def _from_manifest(root: Path, modalities: Sequence[Modality], manifest: Path) -> Scan:
    if not manifest.is_file():
        raise DataError(f"{manifest}: no such manifest; a CSV or JSONL file with columns file, label, text is needed")
    entries, skipped = [], {}
    texts = next((m for m in modalities if m.name == "text"), None)
    for row in _rows(manifest):
        path = root / str(row.get("file") or "")
        modality = next((m for m in modalities if path.suffix.lower() in m.suffixes), None)
        if modality is None or not path.is_file():
            skipped[str(path)] = "not a file" if modality else "not of an accepted suffix"
            continue
        text = row.get("text")
        caption = tuple(text) if isinstance(text, list) else (str(text),) if text else ()
        group = {modality.name: path}
        for other in modalities:
            others = sorted(other.suffixes) if other is not modality else []
            beside = [suffix for suffix in others if path.with_suffix(suffix).is_file()]
            if beside and not (other is texts and caption):
                group[other.name] = path.with_suffix(beside[0])
        if all(m.name in group or (m is texts and caption) for m in modalities):
            label = row.get("label")
            entries.append(Entry(Path(str(row["file"])).as_posix(), group, str(label) if label else None, caption))
        else:
            skipped[str(path)] = "no file of the same stem for each modality"
    return Scan(sorted(entries, key=lambda entry: entry.name), skipped)


def _rows(manifest: Path) -> Iterable[dict[str, Any]]:
    with manifest.open(encoding="utf-8", newline="") as lines:
        if manifest.suffix.lower() == ".csv":
            yield from csv.DictReader(lines)
            return
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line) if line.strip() else {}
            except json.JSONDecodeError as error:
                raise DataError(f"{manifest}, line {number}: not JSON ({error.msg})") from None
            if not isinstance(row, dict):
                example = '{"file": "a.mid", "label": "bach"}'
                raise DataError(f"{manifest}, line {number}: not an object such as {example}")
            if row:
                yield row


def share(name: str) -> float:
    """A number in [0, 1) that depends on the name alone."""
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:7], "big") / 2**56


def split(names: Sequence[str], fraction: float) -> list[bool]:
    """Which names are held out: those whose hash falls below `fraction`, so the split stays put as a folder grows.

    If none does, the smallest hash is held out, unless there is only one name or nothing is asked for.
    """
    shares = [share(name) for name in names]
    held = [x < fraction for x in shares]
    if fraction > 0 and len(names) > 1 and not any(held):
        held[shares.index(min(shares))] = True
    if held and all(held):  # something is needed to train on
        held[shares.index(max(shares))] = False
    return held
