"""Files to media and what is made of them: in order, tolerant of bad files, read once where media fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

from helicon.data.entries import Entry, at_path, size
from helicon.data.workers import Workers
from helicon.formats.printable import MOST, printable
from helicon.formats.progress import bar
from helicon.modalities import registry
from helicon.modalities.base import Modality
from helicon.plugins.plugin import PluginError

KEPT_BYTES = 64 << 20  # media up to this size in all stay in memory between fitting and encoding
MAX_CAPTION_BYTES = 4 << 20  # of words that stand beside another medium

Media = dict[str, Any]  # modality name -> media object, or Alternatives
Make = Callable[[Entry, Media], Any]
Task = tuple[Entry, Media | None, bool]  # media that were read before; whether those that are read come along


class Variants(tuple[Any, ...]):
    """Several media of one example and modality, such as captions of a picture, of which each epoch takes one."""


def variants(media: Any) -> list[Any]:
    """The media of one example: the alternatives, or the only one."""
    return list(media) if isinstance(media, Variants) else [media]


def in_company(modalities: Iterable[str]) -> bool:
    """Whether the files of an example are of several media, which belong together."""
    return sum(registry.get(name).in_files for name in modalities) > 1


def as_they_are(entry: Entry, media: Media) -> Media:
    """The media themselves."""
    return media


@dataclass(kw_only=True)
class ReadResult:
    """What was made of an entry's media, or the file that cannot be read and why; counts of what was repaired.

    bytes: that the media take. media: themselves, if they are kept.
    """

    made: Any = None
    media: Media | None = None
    file: str = ""
    reason: str = ""
    repaired: dict[str, int] = field(default_factory=dict)
    bytes: int = 0


@dataclass(frozen=True)
class ReadJob:
    """What is done with an entry, maybe in another process: media of these modalities are read, something made of them.

    options: of reading, by name.
    """

    modalities: Sequence[str]
    options: Mapping[str, Any]
    make: Make = as_they_are

    def __call__(self, task: Task) -> ReadResult:
        """Media that are not given are read; they come along if they are to be kept."""
        entry, media, keep = task
        if media is not None:
            return ReadResult(made=self._made(entry, media))
        found = read_entry(entry, self.modalities, self.options)
        if found.media is not None:
            found.made = self._made(entry, found.media)
            found.media = found.media if keep else None
        return found

    def _made(self, entry: Entry, media: Media) -> Any:
        try:
            return self.make(entry, media)
        except PluginError as error:
            raise PluginError(f"{printable(entry.name, MOST)}: {error}") from error


class Reader:
    """Reads entries on all cores, in order; those of a small set are read once and kept."""

    def __init__(
        self, entries: Sequence[Entry], modalities: Sequence[Modality], options: Mapping[str, Any],
        workers: Workers | None = None,
    ) -> None:  # fmt: skip
        """workers: who reads; this process alone, unless given."""
        self.entries, self.modalities, self.options = list(entries), list(modalities), dict(options)
        self.workers = workers or Workers(1)
        self.good: list[Entry] = []
        self.skipped: dict[str, str] = {}
        self.repaired: dict[str, int] = {}
        self._kept: list[Media] | None = None

    def read(self, what: str, make: Make = as_they_are, keep: bool = True) -> Iterator[tuple[Entry, Any]]:
        """Good entries with what is made of their media; the first pass learns which are good.

        keep: whether small media are kept for another pass.
        """
        first, keep = not self.good, keep and self._kept is None
        entries = self.entries if first else self.good
        kept: list[Media] = []
        taken = 0

        def tasks() -> Iterator[Task]:
            for entry, media in zip(entries, self._kept or repeat(None)):
                yield entry, media, keep and taken <= KEPT_BYTES

        job = ReadJob([modality.name for modality in self.modalities], self.options, make)
        results = self.workers.do(job, tasks(), [bytes_of(entry) for entry in entries])
        told = bar(results, of=what, unit="files", total=len(entries))
        for entry, found in zip(entries, told):
            if found.file:
                self.skipped[found.file] = found.reason
                continue
            if first:
                self.good.append(entry)
                for event, n in found.repaired.items():
                    self.repaired[event] = self.repaired.get(event, 0) + n
            taken += found.bytes
            if found.media is not None and taken <= KEPT_BYTES:
                kept.append(found.media)
            else:
                kept.clear()
            yield entry, found.made
        if keep and taken <= KEPT_BYTES:
            self._kept = kept


def bytes_of(entry: Entry) -> int:
    """Of its files and texts."""
    return sum(map(size, entry.files.values())) + sum(map(len, entry.texts))


def read_entry(entry: Entry, modalities: Sequence[str], options: Mapping[str, Any]) -> ReadResult:
    """Media of one entry; a file that cannot be read gives its reason instead of an exception."""
    media: Media = {}
    repaired: dict[str, int] = {}
    taken = 0
    for name in modalities:
        modality = registry.get(name)
        try:
            if not modality.in_files:
                media[name], counts = entry.label or "", {}
            elif name in entry.files:
                file = entry.files[name]
                if modality.typed is not None and in_company(modalities) and size(file) > MAX_CAPTION_BYTES:
                    raise ValueError(f"{size(file):,} bytes are more than the {MAX_CAPTION_BYTES:,} of a caption")
                modality.check_size(size(file), options)  # before a shard is unpacked
                with at_path(file) as path:
                    media[name], counts = modality.read(path, entry.label, options)
                taken += getattr(media[name], "nbytes", None) or size(file)
            else:
                said = [modality.from_text(text) for text in entry.texts]
                media[name], counts = said[0] if len(said) == 1 else Variants(said), {}
                taken += sum(map(len, entry.texts))
        except PluginError as error:  # which would be that of each file
            raise PluginError(f"{printable(entry.files.get(name) or entry.name, MOST)}: {error}") from error
        except (OSError, ValueError) as error:
            file = entry.files.get(name) or next(iter(entry.files.values()))
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            return ReadResult(file=printable(str(file)), reason=printable(" ".join(str(reason).split()), MOST))
        for what, n in counts.items():
            repaired[what] = repaired.get(what, 0) + n
    return ReadResult(made=None, media=media, repaired=repaired, bytes=taken)
