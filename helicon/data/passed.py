"""Tally of the files and folders that a search passes over, and its one line of a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from helicon.formats.printable import printable
from helicon.modalities.base import Modality, endings, remedy

MAX_NAMED = 1000  # skipped files that are listed with their reasons; more are counted, to keep reports and caches small
MAX_KINDS, SHOWN_KINDS = 1000, 12  # suffixes that are counted apart, since names are a stranger's; those of the line
MAX_SUFFIX = 12  # characters of a suffix that is shown, such as `.musicxml`
UNSUFFIXED, OTHERS = "without a suffix", "of other suffixes"

# What usually lies beside media and is none: captions, tables, notes, settings, checksums and playlists
COMPANIONS = frozenset((
    ".txt", ".md", ".json", ".jsonl", ".csv", ".tsv", ".yaml", ".yml", ".xml", ".lrc", ".srt", ".vtt",
    ".caption", ".cls", ".npy", ".npz", ".html", ".htm", ".log", ".ini", ".cfg", ".toml", ".py", ".sh", ".db",
    ".md5", ".sha1", ".sha256", ".url", ".m3u", ".m3u8", ".pls", ".cue", ".nfo", ".sfv", ".parquet", ".arrow",
    ".lock",
))  # fmt: skip
COMPANION_NAMES = ("readme", "license", "licence", "copying", "authors", "notice", "changelog", "thumbs.db", "__")
TEXTS = ("text", "lyrics")  # modalities for which such files may be meant to be read


def kind_unread(name: str, modalities: Sequence[Modality]) -> str:
    """Describe a file that no modality of a search reads, for a tally.

    Args:
        name: of the file, or of a member of a shard.
        modalities: of the search.

    Returns:
        Such as `.heic (pip install pillow-heif)`; empty for a companion of media, such as a caption or a README.
    """
    base = name.rpartition("/")[2].lower()
    suffix, advice = (endings(base) or [""])[-1], remedy(base, modalities)
    only_text = all(modality.name in TEXTS for modality in modalities)
    if base.startswith(COMPANION_NAMES) or (suffix in COMPANIONS and not advice and not only_text):
        return ""
    if not suffix:
        return UNSUFFIXED
    if len(suffix) > MAX_SUFFIX or not suffix.isprintable() or " " in suffix:
        return OTHERS
    return f"{suffix} ({advice})" if advice else suffix


def count(tally: Counter[str], kind: str, n: int = 1) -> None:
    """Add to a tally, in bounded memory.

    Args:
        tally: kind -> count, updated in place.
        kind: of what is passed over; beyond MAX_KINDS of them, OTHERS.
        n: how many.
    """
    tally[kind if kind in tally or len(tally) < MAX_KINDS else OTHERS] += n


def passed_over(tally: Mapping[str, int]) -> str:
    """Format a tally (kind -> count) as `passed over: 214 .heic (pip install pillow-heif), 3 .m4a`; empty for none."""
    if not tally:
        return ""
    ranked = sorted(tally.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{n:,} {printable(kind)}" for kind, n in ranked[:SHOWN_KINDS]]
    rest = ranked[SHOWN_KINDS:]
    shown += [f"{sum(n for _, n in rest):,} of {len(rest):,} more kinds"] if rest else []
    return f"passed over: {', '.join(shown)}"
