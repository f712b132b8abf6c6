"""Lists of results that functions of the library return: they save themselves and show their items in a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, SupportsIndex, TypeVar, overload

from helicon.api.arguments import AnyPath
from helicon.formats.files import write_text
from helicon.formats.folder_lock import FolderLock
from helicon.formats.notebook import html_lines


class Result(Protocol):
    """Interface of a result, such as an item or a classification: it has a file format and a notebook view."""

    @property
    def suffix(self) -> str:
        """File suffix with the dot, such as `.mid`."""
        ...

    def save(self, path: AnyPath) -> Any:
        """Write the file `path`, and its previews beside it."""
        ...

    def _repr_html_(self) -> str: ...


Kind = TypeVar("Kind", bound=Result)


class Results(list[Kind]):
    """List of results, such as items, classifications or reconstructions."""

    def save(self, folder: AnyPath) -> list[Path]:
        """Write each result as `folder/NNN.suffix`, previews beside it, and return the list of these paths.

        The folder is created if it is missing.

        Raises:
            OSError: the folder cannot be written, or another process is writing to it.
        """
        paths = [Path(folder) / f"{place:03d}{result.suffix}" for place, result in enumerate(self)]
        Path(folder).mkdir(parents=True, exist_ok=True)
        with FolderLock(Path(folder)):
            for path, result in zip(paths, self):
                result.save(path)
        return paths

    def _repr_html_(self) -> str:
        """Show all results, one below the other."""
        return "".join(f"<div>{result._repr_html_()}</div>" for result in self)

    @overload
    def __getitem__(self, place: SupportsIndex) -> Kind: ...
    @overload
    def __getitem__(self, place: slice) -> Results[Kind]: ...
    def __getitem__(self, place: SupportsIndex | slice) -> Kind | Results[Kind]:
        """Return a result, or the Results of a slice."""
        return Results(super().__getitem__(place)) if isinstance(place, slice) else super().__getitem__(place)


class Lines(list[str]):
    """List of text lines, such as the tokens of files.

    Attributes:
        repaired: for each file, counts of what reading it dropped or repaired, by what it was; empty for lines that are
            of no file.
    """

    def __init__(self, lines: Iterable[str] = (), repaired: Iterable[Mapping[str, int]] = ()) -> None:
        """List lines; the arguments are `lines`, of text, and `repaired`, the attribute."""
        super().__init__(lines)
        self.repaired = list(repaired)

    def save(self, path: AnyPath) -> None:
        """Write a text file at `path`, which `helicon detokenize` reads."""
        write_text(path, "".join(f"{line}\n" for line in self))

    def _repr_html_(self) -> str:
        """Show the lines as they are printed."""
        return html_lines(self)
