"""Report of a reader, of any format, beside what it read."""

from __future__ import annotations

from collections.abc import Mapping
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

    def __str__(self) -> str:
        return ", ".join(f"{n} {what}" for what, n in sorted(self.counts.items())) or "nothing lost"


def repaired(counts: Mapping[str, int]) -> str:
    """Format counts of events (name -> count) as the line `repaired   3 ..., 1 ...` of a report; empty for none."""
    counted = ", ".join(f"{n:,} {what}" for what, n in sorted(counts.items()))
    return f"repaired   {counted}" if counted else ""
