"""The regular files below a folder: links are followed, each real folder is searched once, nothing is opened."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from heapq import heappop, heappush
from pathlib import Path

from helicon.formats.printable import printable

NOT_REGULAR = "no regular file (a pipe, device or socket): not opened"
SEARCHED = "a link to a folder that is searched already: not followed"
HOLDS = "a link to a folder that holds this one: not followed"
BROKEN = "a link to nothing"


@dataclass
class Walk:
    """files: parts of the paths of regular files below the root, in order. links: that were followed."""

    files: list[tuple[str, ...]] = field(default_factory=list)
    links: int = 0
    skipped: dict[str, str] = field(default_factory=dict)


def walk(root: Path) -> Walk:
    """All regular files below a folder, but for hidden ones and those in hidden folders.

    Links to files and folders are followed once no folder is left that has a name of its own, in order of name. What is
    neither file nor folder, and folders that cannot be read, are skipped with the reason.
    """
    found, above = Walk(), {_identity(folder) for folder in (root, *root.resolve().parents)}
    seen, places, linked = set(above), [(root, ())], []
    while places or linked:
        if not places:  # links come last
            parts = heappop(linked)
            path = root.joinpath(*parts)
            identity = _identity(path)
            if identity in seen:
                found.skipped[printable(str(path))] = HOLDS if identity in above else SEARCHED
                continue
            seen.add(identity)
            found.links += 1
            places.append((path, parts))
        folder, inside = places.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if not entry.name.startswith("."):
                        _sort_in(entry, (*inside, entry.name), found, places, linked, seen)
        except OSError as error:
            found.skipped[printable(str(folder))] = error.strerror or "cannot be searched"
    found.files.sort()
    return found


def _sort_in(
    entry: os.DirEntry[str], parts: tuple[str, ...], found: Walk,
    places: list[tuple[Path, tuple[str, ...]]], linked: list[tuple[str, ...]], seen: set[tuple[int, int]],
) -> None:  # fmt: skip
    """Adds an entry of a folder to the files, to the folders or links that are to be searched, or to the skipped."""
    try:
        link, folder, file = entry.is_symlink(), entry.is_dir(), entry.is_file()
        identity = _identity(entry.path) if folder and not link else None
    except OSError:  # a link to itself, or what has gone meanwhile
        link, folder, file, identity = True, False, False, None
    if link and folder:
        heappush(linked, parts)
    elif file:
        found.links += link
        found.files.append(parts)
    elif identity and identity not in seen:
        seen.add(identity)
        places.append((Path(entry.path), parts))
    else:  # a folder that was seen is one by a kind of link that does not tell that it is one
        nothing = link and not os.path.exists(entry.path)
        found.skipped[printable(entry.path)] = SEARCHED if folder else BROKEN if nothing else NOT_REGULAR


def _identity(folder: Path | str) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def parts_to_follow(name: str, bases: set[Path]) -> int:
    """Parts of a name that could be that of a file elsewhere, as it has `..` or begins at none of the bases; else 0."""
    path = Path(name)
    elsewhere = path.anchor and not any(path.is_relative_to(base) for base in bases)
    return len(path.parts) if elsewhere or ".." in path.parts else 0


def escapes(name: str, root: Path, known: dict[str, Path]) -> bool:
    """Whether a name, taken below a folder, is that of a file elsewhere: each of its parts is looked at on the disk.

    known: folders of names that were looked at before, and where they are.
    """
    folder, last = os.path.split(name)
    try:
        if folder not in known:
            known[folder] = (root / folder).resolve()
        return not (known[folder] / last).resolve().is_relative_to(root.resolve())
    except (OSError, ValueError, RuntimeError):  # a loop of links, NUL, or longer than the system takes
        return True
