"""Parts of a cache, made by many processes or machines in any order, and joined to the cache that one would make alone.

Where tokenizers are fitted there are two rounds: each part surveys its files, and once all have, each encodes them.
"""

from __future__ import annotations

import json
import re
import shutil
from bisect import bisect
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

from helicon.data.build import (
    EncodedLayout,
    add_surveys,
    build,
    check_read,
    corpus_writer,
    encode_layout,
    finish,
    fit,
    modalities_to_survey,
    replacing,
    split_again,
    survey,
    write_index,
)
from helicon.data.cache import load_cache, restore_tokenizers
from helicon.data.children import safe_path
from helicon.data.corpus import MAX_INDEX_BYTES, CorpusError, read_corpus
from helicon.data.entries import DataError, Entry
from helicon.data.prepare import Plan, plan_cache, reported
from helicon.data.prepared import Prepared
from helicon.data.reading import Reader, bytes_of
from helicon.data.source import DataSource, modalities_of, tokenizer_names_of
from helicon.data.workers import Workers
from helicon.formats.files import atomic_write, read_regular, write_json
from helicon.formats.plain import from_plain, to_plain
from helicon.formats.temporary import clear_abandoned, remove_temporary, temporary_path
from helicon.sequence.layout import Layout
from helicon.tokenizers.base import Tokenizer
from helicon.tokenizers.sequencer import grids

MAX_PARTS = 10_000
TOKENIZERS = "tokenizers.json"  # states by slot, of the tokenizers that were fitted to all surveys
INDEX = "part.json"  # of an encoded part: what was read and lost, and the entry of each example


class Part(NamedTuple):
    """Part of a cache: its number, from 1 on, and the number of all parts."""

    number: int
    parts: int

    @staticmethod
    def parse(text: str) -> Part:
        """Parse `3/16`; DataError for anything that is no part."""
        match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        part = Part(*map(int, match.groups())) if match else Part(0, 0)
        if not 1 <= part.number <= part.parts <= MAX_PARTS:
            raise DataError(f"--part {text}: NUMBER/COUNT is accepted, 1/1 to {MAX_PARTS}/{MAX_PARTS}, such as 3/16")
        return part

    def __str__(self) -> str:
        return f"{self.number}/{self.parts}"


def prepare_part(
    source: DataSource, part: Part, pretrained: Mapping[str, Tokenizer] | None = None,
    log: Callable[[str], None] = lambda line: None, processes: int | None = None,
) -> Prepared | None:  # fmt: skip
    """Make one part of a cache, as far as the other parts allow; the last part joins them.

    Args:
        source: `DataSource`, the same for all parts.
        part: `Part` to make.
        pretrained: slot -> tokenizer, as in `prepare`.
        log: called with each progress message.
        processes: number of processes; all cores unless given.

    Returns:
        The `Prepared` of the whole cache, if this was the last part, or the cache is there already; else None.

    Raises:
        DataError: as in `prepare`.
    """
    plan = plan_cache(source, pretrained, log)
    try:
        prepared: Prepared | None = load_cache(plan.folder, plan.pretrained)
        log(f"cache      {plan.folder}")
    except CorpusError:
        with safe_path(), Workers(processes) as workers:
            prepared = _Parts(plan, part.parts, workers, log).make(part)
    return None if prepared is None else reported(plan, prepared)


class _Parts:
    """Folder of the parts of one cache: `survey-3.jsonl` and `3/` of part 3.

    Args:
        plan: `Plan` of the cache.
        count: number of parts.
        workers: processes that read and encode.
        log: called with each progress message.
    """

    def __init__(self, plan: Plan, count: int, workers: Workers, log: Callable[[str], None]) -> None:
        self.plan, self.count, self.workers, self.log = plan, count, workers, log
        self.folder = plan.folder.with_name(f"{plan.folder.name}.parts-{count}")
        self.asked = modalities_to_survey(plan.source, plan.pretrained)
        self.cuts = [_cuts(scanned.entries, count) for scanned in plan.scans]

    def make(self, part: Part) -> Prepared | None:
        """Survey and encode a part, as far as the others are, and join all once they are there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        clear_abandoned(self.folder)
        others = sorted(path.name for path in self.folder.parent.glob(f"{self.plan.folder.name}.parts-*"))
        if more := [name for name in others if name != self.folder.name]:
            self.log(f"parts      {more[0]}, made with another number of parts, is not used")
        tokenizers = self._tokenizers(part)
        if isinstance(tokenizers, Prepared | None):
            return tokenizers
        if not self._is_encoded(part.number):
            self._encode(part.number, tokenizers)
        missing = [n for n in self._numbers if not self._is_encoded(n)]
        if missing:
            self.log(f"part       {part} is made; {self.count - len(missing)} of {self.count} are, the last joins them")
            return None
        return self._join(tokenizers)

    def _tokenizers(self, part: Part) -> dict[str, Tokenizer] | Prepared | None:
        """Return the tokenizers that all parts are encoded with, by slot.

        None while surveys are missing; the whole cache where it had to be built without parts.
        """
        plan, file = self.plan, self.folder / TOKENIZERS
        if not self.asked:
            return fit(plan.source, {}, plan.pretrained)
        if not file.exists():
            if not self._survey_file(part.number).exists():
                self._survey(part.number)
            missing = [n for n in self._numbers if not self._survey_file(n).exists()]
            if missing:
                done = f"{self.count - len(missing)} of {self.count} are"
                self.log(f"part       {part} is surveyed; {done}. Once all are, each part is to be started once more")
                return None
            readers = self._readers()
            surveys = self._surveys(readers)
            check_read(plan.source, plan.layouts, readers)
            if again := self._split_again([reader.good for reader in readers]):
                return self._alone(again)
            fitted = fit(plan.source, surveys, plan.pretrained)
            write_json(file, {slot: tokenizer.state() for slot, tokenizer in fitted.items()})
        states = json.loads(read_regular(file, MAX_INDEX_BYTES))
        return restore_tokenizers(states, tokenizer_names_of(plan.source), plan.pretrained)

    @property
    def _numbers(self) -> range:
        return range(1, self.count + 1)

    def _survey_file(self, number: int) -> Path:
        return self.folder / f"survey-{number}.jsonl"

    def _is_encoded(self, number: int) -> bool:
        return (self.folder / str(number) / INDEX).is_file()

    def _readers(self, number: int | None = None) -> list[Reader]:
        """Return a reader of each layout, of the entries of a part, or of all."""
        plan = self.plan
        return [
            Reader(scanned.entries[self._stretch(i, number)], modalities_of(layout, plan.source.examples),
                   {**plan.source.options, **scanned.options}, self.workers)
            for i, (layout, scanned) in enumerate(zip(plan.layouts, plan.scans))
        ]  # fmt: skip

    def _stretch(self, layout: int, number: int | None) -> slice:
        """Return the entries of a part: consecutive ones, of about as many bytes as any other."""
        if number is None:
            return slice(None)
        return slice(self.cuts[layout][number - 1], self.cuts[layout][number])

    def _survey(self, number: int) -> None:
        """Write the surveys of a part: a line for each entry, and one for what each layout's reader met."""
        with atomic_write(self._survey_file(number)) as path, path.open("w", encoding="utf-8") as file:
            for layout, reader in enumerate(self._readers(number)):
                for _, surveys in survey(reader, self.asked):
                    file.write(json.dumps({"surveys": _plain(surveys)}) + "\n")
                file.write(json.dumps({"layout": layout, **self._reading(layout, number, reader)}) + "\n")

    def _reading(self, layout: int, number: int, reader: Reader) -> dict[str, Any]:
        """Return what a reader of a part met, with entries as their numbers among all of the layout."""
        first = self._stretch(layout, number).start
        places = {id(entry): place for place, entry in enumerate(reader.entries, first)}
        good = [places[id(entry)] for entry in reader.good]
        return {"good": good, "skipped": reader.skipped, "repaired": reader.repaired}

    def _surveys(self, readers: Sequence[Reader]) -> dict[str, list[Any]]:
        """Return the surveys of all parts, in the order in which one process would make them, and fill the readers."""
        of_layouts: list[dict[str, list[Any]]] = [{} for _ in readers]
        for number in self._numbers:
            waiting: dict[str, list[Any]] = {}
            for line in self._lines(self._survey_file(number)):
                if "surveys" in line:
                    add_surveys(waiting, {name: from_plain(several) for name, several in line["surveys"].items()})
                    continue
                _add_reading(readers[line["layout"]], line)
                add_surveys(of_layouts[line["layout"]], waiting)
                waiting = {}
        surveys: dict[str, list[Any]] = {}
        for of_layout in of_layouts:
            add_surveys(surveys, of_layout)
        return surveys

    def _lines(self, path: Path) -> Iterator[dict[str, Any]]:
        with path.open(encoding="utf-8") as file:
            yield from map(json.loads, file)

    def _encode(self, number: int, tokenizers: Mapping[str, Tokenizer]) -> None:
        """Encode the entries of a part to a folder of its own."""
        target, readers = self.folder / str(number), self._readers(number)
        if self.asked:
            for line in self._lines(self._survey_file(number)):
                if "layout" in line:
                    _add_reading(readers[line["layout"]], line, self._stretch(line["layout"], number).start)
        building = temporary_path(target)
        index = []
        try:
            for i, (layout, reader) in enumerate(zip(self._filled(tokenizers), readers)):
                encoded = encode_layout(building / str(i), layout, reader, tokenizers, self.plan.source)
                first = self._stretch(i, number).start
                places = {id(entry): place for place, entry in enumerate(reader.entries, first)}
                of_examples = [places[id(entry)] for entry in encoded.entries]
                index.append({"entries": of_examples, "lost": encoded.lost, **self._reading(i, number, reader)})
            write_json(building / INDEX, index)
            shutil.rmtree(target, ignore_errors=True)
            building.replace(target)
        except OSError:
            if not self._is_encoded(number):  # else another process has made the same part meanwhile
                raise
        finally:
            remove_temporary(building)

    def _filled(self, tokenizers: Mapping[str, Tokenizer]) -> list[Layout]:
        return [layout.filled(grids(tokenizers)) for layout in self.plan.layouts]

    def _join(self, tokenizers: Mapping[str, Tokenizer]) -> Prepared:
        """Write the cache from its parts, as one process would, and remove them."""
        plan, readers = self.plan, self._readers()
        try:
            indices = [json.loads(read_regular(self.folder / str(n) / INDEX, MAX_INDEX_BYTES)) for n in self._numbers]
            with replacing(plan.folder, tokenizers) as building:
                encoded = []
                for i, (layout, reader) in enumerate(zip(self._filled(tokenizers), readers)):
                    entries: list[Entry] = []
                    lost: dict[str, int] = {}
                    with corpus_writer(building / str(i), layout, tokenizers, plan.source) as writer:
                        for number, index in zip(self._numbers, indices):
                            corpus = read_corpus(self.folder / str(number) / str(i))
                            for n in range(len(corpus)):
                                writer.append(
                                    corpus.names[n], corpus.labels[n], bool(corpus.val[n]), corpus.variants_of(n)
                                )
                            entries += [plan.scans[i].entries[place] for place in index[i]["entries"]]
                            _add_counts(lost, index[i]["lost"])
                            _add_reading(reader, index[i])
                        finish(writer, plan.source, entries)
                    encoded.append(EncodedLayout(entries=entries, lost=lost, reader=reader))
                check_read(plan.source, plan.layouts, readers)
                if again := self._split_again([part.entries for part in encoded]):
                    return self._alone(again)
                write_index(building, plan.source, plan.scans, tokenizers, encoded)
        except (OSError, CorpusError):
            try:
                return load_cache(plan.folder, tokenizers)  # another process has joined them, and removed them
            except CorpusError:
                pass
            raise
        shutil.rmtree(self.folder, ignore_errors=True)
        self.log(f"cache      {plan.folder}, joined from {self.count} parts")
        return load_cache(plan.folder, tokenizers)

    def _split_again(self, kept: Sequence[Sequence[Entry]]) -> Any:
        return split_again(self.plan.source, self.plan.layouts, self.plan.scans, kept)

    def _alone(self, scans: Any) -> Prepared:
        """Build the cache without parts, where the files that cannot be read have changed the split."""
        plan = self.plan
        self.log("part       all of a split's files cannot be read: it is made again, without parts")
        prepared = build(plan.source, plan.layouts, scans, plan.pretrained, plan.folder, self.workers)
        shutil.rmtree(self.folder, ignore_errors=True)
        return prepared


def _cuts(entries: Sequence[Entry], count: int) -> list[int]:
    """Return the bounds of so many stretches of entries with about as many bytes each."""
    ends = list(accumulate(map(bytes_of, entries)))
    return [0, *(bisect(ends, ends[-1] * k // count) for k in range(1, count)), len(entries)]


def _plain(surveys: Mapping[str, list[Any]]) -> dict[str, Any]:
    try:
        return {name: to_plain(several) for name, several in surveys.items()}
    except ValueError as error:
        raise DataError(f"--part: surveys of {', '.join(surveys)} cannot be written: {error}") from None


def _add_reading(reader: Reader, met: Mapping[str, Any], first: int = 0) -> None:
    """Add what a part's reader met to a reader, whose entries begin with number `first` of the layout."""
    reader.good += [reader.entries[place - first] for place in met["good"]]
    reader.skipped |= met["skipped"]
    _add_counts(reader.repaired, met["repaired"])


def _add_counts(counts: dict[str, int], more: Mapping[str, int]) -> None:
    for what, n in more.items():
        counts[what] = counts.get(what, 0) + n
