"""Report of a reader, of any format, beside what it read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass
class ReadReport:
    """Counts of data that a reader dropped, repaired or clipped.

    Attributes:
        counts: event name -> count.
        text: text that our writer left in the file, verbatim.
    """

    counts: dict[str, int] = field(default_factory=dict)
    text: str = ""

    def add(self, what: str, n: int = 1) -> None:
        """Count an event.

        Args:
            what: name of the event, in the plural.
            n: number of times; 0 adds nothing.
        """
        if n:
            self.counts[what] = self.counts.get(what, 0) + int(n)

    @staticmethod
    def total(parts: Iterable[Mapping[str, int]]) -> ReadReport:
        """Return the `ReadReport` of the sum of several counts, event name -> count."""
        report = ReadReport()
        for counts in parts:
            for what, n in counts.items():
                report.add(what, n)
        return report

    def __str__(self) -> str:
        return _listed(self.counts) or "nothing lost"


def repaired(counts: Mapping[str, int], file: str = "") -> str:
    """Format counts of events (name -> count) as the line `repaired   3 ..., 1 ...` of a report; empty for none.

    Args:
        counts: name of an event -> count.
        file: printable name of the file whose counts they are; empty for those of several files.

    Returns:
        The line, a text.
    """
    return f"repaired   {f'{file}: ' if file else ''}{_listed(counts)}" if counts else ""


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n:,} {what}" for what, n in sorted(counts.items()))
