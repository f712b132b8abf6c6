"""Read files to media and process them: in order, tolerant of bad files, read once where media fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

from helicon.data.captions import MAX_BYTES as MAX_CAPTION_BYTES
from helicon.data.captions import read_captions
from helicon.data.entries import Entry, at_path, size
from helicon.data.workers import Workers
from helicon.formats.printable import MAX_QUOTED, printable
from helicon.formats.progress import bar
from helicon.modalities import registry
from helicon.modalities.base import Modality
from helicon.plugins.plugin import PluginError

KEPT_BYTES = 64 << 20  # total size of media that stay in memory between fitting and encoding

Media = dict[str, Any]  # modality name -> media object, or Variants
Make = Callable[[Entry, Media], Any]
Task = tuple[Entry, Media | None, bool]  # entry, media if read before, whether to return the media


class Variants(tuple[Any, ...]):
    """Several media of one example and modality, such as captions of a picture; each epoch uses one."""


def variants(media: Any) -> list[Any]:
    """Return the media of one example as a list: the members of a `Variants`, or else `media` as the only one."""
    return list(media) if isinstance(media, Variants) else [media]


def is_multimodal(modalities: Iterable[str]) -> bool:
    """Return True if several of these names are of modalities in files, whose files make one example together."""
    return sum(registry.get(name).in_files for name in modalities) > 1


def keep_media(entry: Entry, media: Media) -> Media:
    """Return the media unprocessed.

    Args:
        entry: `Entry`, unused.
        media: modality name -> media of the entry.

    Returns:
        `media`.
    """
    return media


@dataclass(kw_only=True)
class ReadResult:
    """Result of reading an entry.

    Attributes:
        output: of the job, for the entry's media.
        media: the media, if they are to be kept.
        file: that cannot be read; empty if all can.
        reason: of the failure.
        repaired: event -> count.
        bytes: size of the media.
    """

    output: Any = None
    media: Media | None = None
    file: str = ""
    reason: str = ""
    repaired: dict[str, int] = field(default_factory=dict)
    bytes: int = 0


@dataclass(frozen=True)
class ReadJob:
    """Job that reads the media of an entry and processes them, possibly in another process.

    Attributes:
        modalities: names of those that are read.
        options: of reading, by name.
        make: processes the media of an entry.
    """

    modalities: Sequence[str]
    options: Mapping[str, Any]
    make: Make = keep_media

    def __call__(self, task: Task) -> ReadResult:
        """Read the media unless the task has them, process them, and return them too if they are to be kept."""
        entry, media, keep = task
        if media is not None:
            return ReadResult(output=self._output(entry, media))
        result = read_entry(entry, self.modalities, self.options)
        if result.media is not None:
            result.output = self._output(entry, result.media)
            result.media = result.media if keep else None
        return result

    def _output(self, entry: Entry, media: Media) -> Any:
        try:
            return self.make(entry, media)
        except PluginError as error:
            raise PluginError(f"{printable(entry.name, MAX_QUOTED)}: {error}") from error


class Reader:
    """Reader of entries on all cores, in order; the media of a small set are read once and kept.

    Args:
        entries: to read.
        modalities: of each entry.
        options: of reading, by name.
        workers: processes that read; this process alone unless given.
    """

    def __init__(
        self, entries: Sequence[Entry], modalities: Sequence[Modality], options: Mapping[str, Any],
        workers: Workers | None = None,
    ) -> None:  # fmt: skip
        self.entries, self.modalities, self.options = list(entries), list(modalities), dict(options)
        self.workers = workers or Workers(1)
        self.good: list[Entry] = []
        self.skipped: dict[str, str] = {}
        self.repaired: dict[str, int] = {}
        self._kept: list[Media] | None = None

    def read(self, what: str, make: Make = keep_media, keep: bool = True) -> Iterator[tuple[Entry, Any]]:
        """Read all entries; the first complete pass learns which can be read, later passes skip the others.

        Args:
            what: label of the progress bar.
            make: function of an entry and its media (modality name -> media); picklable.
            keep: True keeps media in memory for another pass, where all are at most KEPT_BYTES.

        Yields:
            (`Entry`, output of `make`) in order.

        Raises:
            PluginError: a plugin fails, which it would for each file.
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
        tracked = bar(results, of=what, unit="files", total=len(entries))
        for entry, result in zip(entries, tracked):
            if result.file:
                self.skipped[result.file] = result.reason
                continue
            if first:
                self.good.append(entry)
                for event, n in result.repaired.items():
                    self.repaired[event] = self.repaired.get(event, 0) + n
            taken += result.bytes
            if result.media is not None and taken <= KEPT_BYTES:
                kept.append(result.media)
            else:
                kept.clear()
            yield entry, result.output
        if keep and taken <= KEPT_BYTES:
            self._kept = kept


def bytes_of(entry: Entry) -> int:
    """Return the size of an `Entry`: bytes of its files plus characters of its texts."""
    return sum(map(size, entry.files.values())) + sum(map(len, entry.texts))


def _alone_or_variants(media: Sequence[Any]) -> Any:
    return media[0] if len(media) == 1 else Variants(media)


def read_entry(entry: Entry, modalities: Sequence[str], options: Mapping[str, Any]) -> ReadResult:
    """Read the media of one entry.

    Args:
        entry: `Entry`, files and texts.
        modalities: names of those that are read.
        options: of reading, name -> value.

    Returns:
        `ReadResult` with `media` (modality name -> media), `repaired` and `bytes`; or with `file` that cannot be read,
        and `reason`.

    Raises:
        PluginError: a plugin fails.
    """
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
                beside = modality.typed is not None and is_multimodal(modalities)
                if beside and size(file) > MAX_CAPTION_BYTES:
                    raise ValueError(f"{size(file):,} bytes are more than the {MAX_CAPTION_BYTES:,} of a caption")
                modality.check_size(size(file), options)  # before a shard is unpacked
                with at_path(file) as path:
                    if beside and modality.captions:
                        captions, counts = read_captions(path, modality, options)
                        media[name] = _alone_or_variants(captions)
                    else:
                        media[name], counts = modality.read(path, entry.label, options)
                if beside and isinstance(media[name], str) and not media[name].strip():
                    raise ValueError("an empty file")
                taken += getattr(media[name], "nbytes", None) or size(file)
            else:
                media[name], counts = _alone_or_variants([modality.from_text(text) for text in entry.texts]), {}
                taken += sum(map(len, entry.texts))
        except PluginError as error:  # which would be that of each file
            raise PluginError(f"{printable(entry.files.get(name) or entry.name, MAX_QUOTED)}: {error}") from error
        except (OSError, ValueError) as error:
            file = entry.files.get(name) or next(iter(entry.files.values()))
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            return ReadResult(file=printable(str(file)), reason=printable(" ".join(str(reason).split()), MAX_QUOTED))
        for what, n in counts.items():
            repaired[what] = repaired.get(what, 0) + n
    return ReadResult(output=None, media=media, repaired=repaired, bytes=taken)
