"""Result of preparing a source: tokenizers, corpora and report."""

from __future__ import annotations

from dataclasses import dataclass, field

from helicon.data.corpus import Corpus
from helicon.formats.printable import MAX_QUOTED, printable
from helicon.formats.quantities import quantity
from helicon.tokenizers.base import Tokenizer


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
        notes: lines for the report.
    """

    tokenizers: dict[str, Tokenizer]
    tokenizer_names: dict[str, str]
    corpora: list[Corpus]
    files: int
    skipped: dict[str, str]
    repaired: dict[str, int]
    notes: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """Return the report as lines of text: files read and skipped with reasons, repairs, tokens of both parts."""
        lines = [f"files      {self.files} read, {len(self.skipped)} skipped"]
        lines += [
            f"  skipped  {printable(name, MAX_QUOTED)}: {reason}" for name, reason in list(self.skipped.items())[:20]
        ]
        lines += [f"  ... and {len(self.skipped) - 20} more"] if len(self.skipped) > 20 else []
        lines += self.notes
        if self.repaired:
            lines.append("repaired   " + ", ".join(f"{n:,} {what}" for what, n in sorted(self.repaired.items())))
        for corpus in self.corpora:
            train, val = corpus.tokens(val=False), corpus.tokens(val=True)
            pieces = f"{len(corpus.select(True)):,} of {quantity(len(corpus), 'piece')}"
            lines.append(f"tokens     {train:,} for training, {val:,} for validation ({pieces}), `{corpus.layout}`")
        return "\n".join(lines)
