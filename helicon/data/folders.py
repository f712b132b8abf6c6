"""Regular files below a folder: links are followed, each real folder is searched once, nothing is opened."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from pathlib import Path

from helicon.data.entries import DataError
from helicon.formats.printable import MAX_QUOTED, printable

# Reasons for which a path is skipped
NOT_REGULAR = "no regular file (a pipe, device or socket): not opened"
SEARCHED = "a link to a folder that is searched already: not followed"
HOLDS = "a link to a folder that holds this one: not followed"
BROKEN = "a link to nothing"
SYSTEM = "a link to a system folder: not followed"
KINDS = {  # reason -> what a report counts
    NOT_REGULAR: "pipes, devices or sockets",
    SEARCHED: "links to folders searched already",
    HOLDS: "links to folders that hold this one",
    BROKEN: "links to nothing",
    SYSTEM: "links to system folders",
}
UNREADABLE = "folders that cannot be read"

SYSTEM_FOLDERS = ("/proc", "/sys", "/dev")  # of the kernel; they have no data, and no end
MAX_SEARCHED = 20_000_000  # files and folders below the data folder: more do not fit into memory as examples


@dataclass
class Walk:
    """Search result.

    Attributes:
        files: path parts of regular files, in order.
        links: number of links followed.
        skipped: path -> reason.
        passed: kind of a skipped path -> count.
    """

    files: list[tuple[str, ...]] = field(default_factory=list)
    links: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    passed: Counter[str] = field(default_factory=Counter)

    def skip(self, path: object, reason: str) -> None:
        """Skip a path.

        Args:
            path: of anything but a folder that is searched or a file that is taken.
            reason: of KINDS, or what the system says of a folder.
        """
        self.skipped[printable(str(path))] = reason
        self.passed[KINDS.get(reason, UNREADABLE)] += 1


def _all(entry: os.DirEntry[str]) -> bool:
    return True


def walk(root: Path, take: Callable[[os.DirEntry[str]], bool] = _all) -> Walk:
    """Find the regular files below a folder, except hidden ones and those in hidden folders.

    Links are followed last, in order of name, after all real folders: a folder is found by its own name if it has one.
    Other kinds of files, folders that cannot be read, and links to the system's own folders are skipped.

    Args:
        root: folder.
        take: function of a regular file that returns whether it is wanted; it may raise OSError.

    Returns:
        The `Walk`.

    Raises:
        DataError: more than MAX_SEARCHED files and folders.
    """
    searched, system = 0, _system_devices()
    result, above = Walk(), {_identity(folder) for folder in (root, *root.resolve().parents)}
    visited, folders_left, linked = set(above), [(root, ())], []
    while folders_left or linked:
        if not folders_left:  # links come after all real folders
            parts = heappop(linked)
            path = root.joinpath(*parts)
            identity = _identity(path)
            if identity in visited:
                result.skip(path, HOLDS if identity in above else SEARCHED)
                continue
            if identity[0] in system:
                result.skip(path, SYSTEM)
                continue
            visited.add(identity)
            result.links += 1
            folders_left.append((path, parts))
        folder, inside = folders_left.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    searched += 1
                    if not entry.name.startswith("."):
                        _sort_in(entry, (*inside, entry.name), result, take, folders_left, linked, visited)
        except OSError as error:
            result.skip(folder, error.strerror or "cannot be searched")
        if searched > MAX_SEARCHED:
            raise DataError(
                f"{root}: more than {MAX_SEARCHED:,} files and folders, the last in {printable(folder, MAX_QUOTED)}; "
                "a folder of fewer, tar shards or a manifest is accepted"
            )
    result.files.sort()
    return result


def _sort_in(
    entry: os.DirEntry[str], parts: tuple[str, ...], result: Walk, take: Callable[[os.DirEntry[str]], bool],
    places: list[tuple[Path, tuple[str, ...]]], linked: list[tuple[str, ...]], seen: set[tuple[int, int]],
) -> None:  # fmt: skip
    """Add an entry of a folder to the files, to the folders or links still to be searched, or to the skipped."""
    try:
        link, folder, file = entry.is_symlink(), entry.is_dir(), entry.is_file()
        wanted = file and take(entry)
        identity = _identity(entry.path) if folder and not link else None
    except OSError:  # a link to itself, or a file that was deleted meanwhile
        link, folder, file, wanted, identity = True, False, False, False, None
    if link and folder:
        heappush(linked, parts)
    elif file:
        result.links += link and wanted
        if wanted:
            result.files.append(parts)
    elif identity and identity not in seen:
        seen.add(identity)
        places.append((Path(entry.path), parts))
    else:  # a visited folder here is behind a link that `is_symlink` does not know, such as a junction
        nothing = link and not os.path.exists(entry.path)
        result.skip(entry.path, SEARCHED if folder else BROKEN if nothing else NOT_REGULAR)


def _system_devices() -> set[int]:
    """Return the devices that hold the system's own folders alone."""
    devices = {os.stat(name).st_dev for name in SYSTEM_FOLDERS if os.path.isdir(name)}
    return devices - {os.stat(os.sep).st_dev}


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
