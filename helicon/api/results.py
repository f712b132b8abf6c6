"""Lists that functions of the library return, which show all that is in them in a notebook, and save it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, SupportsIndex, TypeVar, overload

from helicon.api.arguments import AnyPath
from helicon.formats.files import write_text
from helicon.formats.folder_lock import FolderLock
from helicon.formats.notebook import html_lines


class Result(Protocol):
    """One thing that was found or made: a file can have it, and a notebook show it."""

    @property
    def suffix(self) -> str:
        """Of its file, such as `.mid`."""
        ...

    def save(self, path: AnyPath) -> Any:
        """Writes it, and what is seen beside it."""
        ...

    def _repr_html_(self) -> str: ...


Kind = TypeVar("Kind", bound=Result)


class Results(list[Kind]):
    """A list of results."""

    def save(self, folder: AnyPath) -> list[Path]:
        """Writes each as `folder/NNN.suffix`, with what it has beside it; gives these paths.

        OSError where another process is writing to that folder.
        """
        paths = [Path(folder) / f"{place:03d}{result.suffix}" for place, result in enumerate(self)]
        Path(folder).mkdir(parents=True, exist_ok=True)
        with FolderLock(Path(folder)):
            for path, result in zip(paths, self):
                result.save(path)
        return paths

    def _repr_html_(self) -> str:
        """All of them, one below the other."""
        return "".join(f"<div>{result._repr_html_()}</div>" for result in self)

    @overload
    def __getitem__(self, place: SupportsIndex) -> Kind: ...
    @overload
    def __getitem__(self, place: slice) -> Results[Kind]: ...
    def __getitem__(self, place: SupportsIndex | slice) -> Kind | Results[Kind]:
        """A result, or several, which are results as these are."""
        return Results(super().__getitem__(place)) if isinstance(place, slice) else super().__getitem__(place)


class Lines(list[str]):
    """A list of lines, such as the tokens of a file each."""

    def save(self, path: AnyPath) -> None:
        """Writes them as a text file, which `helicon detokenize` reads."""
        write_text(path, "".join(f"{line}\n" for line in self))

    def _repr_html_(self) -> str:
        """All of them, as they are printed."""
        return html_lines(self)
