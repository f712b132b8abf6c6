"""Regular files below a folder: links are followed, each real folder is searched once, nothing is opened."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from heapq import heappop, heappush
from pathlib import Path

from helicon.formats.printable import printable

# Reasons for which a path is skipped
NOT_REGULAR = "no regular file (a pipe, device or socket): not opened"
SEARCHED = "a link to a folder that is searched already: not followed"
HOLDS = "a link to a folder that holds this one: not followed"
BROKEN = "a link to nothing"


@dataclass
class Walk:
    """Search result: path parts of regular files in order, number of links followed, skipped paths with reasons."""

    files: list[tuple[str, ...]] = field(default_factory=list)
    links: int = 0
    skipped: dict[str, str] = field(default_factory=dict)


def walk(root: Path) -> Walk:
    """Find all regular files below a folder, except hidden ones and those in hidden folders; return a `Walk`.

    Links are followed last, in order of name, after all real folders: a folder is found by its own name if it has one.
    Other kinds of files, and folders that cannot be read, are skipped with the reason.
    """
    result, above = Walk(), {_identity(folder) for folder in (root, *root.resolve().parents)}
    visited, folders_left, linked = set(above), [(root, ())], []
    while folders_left or linked:
        if not folders_left:  # links come after all real folders
            parts = heappop(linked)
            path = root.joinpath(*parts)
            identity = _identity(path)
            if identity in visited:
                result.skipped[printable(str(path))] = HOLDS if identity in above else SEARCHED
                continue
            visited.add(identity)
            result.links += 1
            folders_left.append((path, parts))
        folder, inside = folders_left.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if not entry.name.startswith("."):
                        _sort_in(entry, (*inside, entry.name), result, folders_left, linked, visited)
        except OSError as error:
            result.skipped[printable(str(folder))] = error.strerror or "cannot be searched"
    result.files.sort()
    return result


def _sort_in(
    entry: os.DirEntry[str], parts: tuple[str, ...], result: Walk,
    places: list[tuple[Path, tuple[str, ...]]], linked: list[tuple[str, ...]], seen: set[tuple[int, int]],
) -> None:  # fmt: skip
    """Add an entry of a folder to the files, to the folders or links still to be searched, or to the skipped."""
    try:
        link, folder, file = entry.is_symlink(), entry.is_dir(), entry.is_file()
        identity = _identity(entry.path) if folder and not link else None
    except OSError:  # a link to itself, or a file that was deleted meanwhile
        link, folder, file, identity = True, False, False, None
    if link and folder:
        heappush(linked, parts)
    elif file:
        result.links += link
        result.files.append(parts)
    elif identity and identity not in seen:
        seen.add(identity)
        places.append((Path(entry.path), parts))
    else:  # a visited folder here is behind a link that `is_symlink` does not know, such as a junction
        nothing = link and not os.path.exists(entry.path)
        result.skipped[printable(entry.path)] = SEARCHED if folder else BROKEN if nothing else NOT_REGULAR


def _identity(folder: Path | str) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def parts_to_follow(name: str, bases: set[Path]) -> int:
    """Count the path parts of a name that may lead out of the data folder.

    Args:
        name: of a file in a manifest.
        bases: absolute paths of the data folder.

    Returns:
        The number of parts, if the name has `..` or is absolute and below none of the bases; else 0.
    """
    path = Path(name)
    elsewhere = path.anchor and not any(path.is_relative_to(base) for base in bases)
    return len(path.parts) if elsewhere or ".." in path.parts else 0


def escapes(name: str, root: Path, resolved: dict[str, Path]) -> bool:
    """Resolve a name below a folder on the disk and return whether it leads out of the folder.

    Args:
        name: of a file in a manifest, relative to the root or absolute.
        root: data folder.
        resolved: cache, folder as written -> resolved path; updated in place.

    Returns:
        True for names outside of the root, and for those that cannot be resolved.
    """
    folder, last = os.path.split(name)
    try:
        if folder not in resolved:
            resolved[folder] = (root / folder).resolve()
        return not (resolved[folder] / last).resolve().is_relative_to(root.resolve())
    except (OSError, ValueError, RuntimeError):  # a loop of links, NUL, or longer than the system takes
        return True
