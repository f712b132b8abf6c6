"""Result of preparing a source: tokenizers, corpora and report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from helicon.data.corpus import Corpus
from helicon.data.passed import passed_over
from helicon.formats.printable import MAX_QUOTED, distinguished, printable
from helicon.formats.quantities import quantity
from helicon.formats.read_report import repaired
from helicon.formats.validation import ValidationRecord
from helicon.tokenizers.base import Tokenizer

MAX_LISTED = 20  # skipped files in a report for people


@dataclass(kw_only=True)
class Prepared:
    """Result of preparing a source.

    Attributes:
        tokenizers: slot -> tokenizer.
        tokenizer_names: slot -> name in the registry.
        corpora: one for each layout, in their order.
        files: number of files read.
        skipped: file -> reason.
        repaired: event -> count, over all files read.
        record: `ValidationRecord` of the validation part, and of earlier trainings.
        notes: lines for the report.
        passed: kind of files that were passed over, unread -> count.
        scale: size of the training part as a multiple of that of the corpora, about; above 1 where they are the
            beginning of a stream.
    """

    tokenizers: dict[str, Tokenizer]
    tokenizer_names: dict[str, str]
    corpora: list[Corpus]
    files: int
    skipped: dict[str, str]
    repaired: dict[str, int]
    record: ValidationRecord = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    passed: Mapping[str, int] = field(default_factory=dict)
    scale: float = 1.0

    @property
    def train_tokens(self) -> int:
        """Number of tokens for training, of all target slots; of a stream an estimate."""
        return round(self.scale * sum(corpus.tokens(val=False) for corpus in self.corpora))

    def reading(self) -> list[str]:
        """Return the lines of the report on reading: files read, skipped and passed over, notes, repairs."""
        lines = [f"files      {self.files} read, {len(self.skipped)} skipped"]
        lines += [
            f"  skipped  {name}: {printable(reason, MAX_QUOTED)}"
            for name, reason in zip(distinguished(list(self.skipped)[:MAX_LISTED], MAX_QUOTED), self.skipped.values())
        ]
        lines += [f"  ... and {len(self.skipped) - MAX_LISTED} more"] if len(self.skipped) > MAX_LISTED else []
        return [*lines, *filter(None, [passed_over(self.passed), *self.notes, repaired(self.repaired)])]

    def summary(self) -> str:
        """Return the report as lines of text: those on reading, and the tokens of both parts."""
        lines = self.reading()
        for corpus in self.corpora:
            train, val = corpus.tokens(val=False), corpus.tokens(val=True)
            if self.scale > 1:
                about = f"about {round(self.scale * train):,} for training"
                lines.append(f"tokens     {about}, {val:,} for validation, `{corpus.layout}`")
                continue
            share = f"{100 * val / max(1, train + val):.1f} %"
            pieces = f"{share}, {len(corpus.select(True)):,} of {quantity(len(corpus), 'piece')}"
            lines.append(f"tokens     {train:,} for training, {val:,} for validation ({pieces}), `{corpus.layout}`")
        return "\n".join(lines)
