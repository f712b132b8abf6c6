"""Lyrics of songs, plain or with the times of their lines. The slot `lyrics` shows the stretch that is being sung."""

from __future__ import annotations

from collections.abc import Iterable

from helicon.modalities.base import Modality, TokenizerKind
from helicon.modalities.text import keep, read_file, typed, write
from helicon.tokenizers.lyrics import LyricsTokenizer

MAX_BYTES = 4 << 20  # of a file: the lyrics of a day


def paired(media: str) -> str:
    """Lyrics keep their lines; nothing stands before the first or after the last of them."""
    return "\n".join(media.splitlines()).strip()


def survey(media: str) -> None:
    """Nothing needs to be known."""


def fit_lyrics(surveys: Iterable[None]) -> LyricsTokenizer:
    """Nothing to learn."""
    return LyricsTokenizer()


LYRICS = Modality(
    name="lyrics",
    suffixes=(".lrc", ".txt"),
    read_file=read_file,
    write=write,
    paired=paired,
    typed=typed,
    keep=keep,
    max_bytes=MAX_BYTES,
    survey=survey,
    slots={"lyrics": {"lyrics": TokenizerKind(fit_lyrics, LyricsTokenizer.from_state, learns=False)}},
)
