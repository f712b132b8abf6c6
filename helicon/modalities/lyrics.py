"""Lyrics of songs, plain or with the times of their lines. The slot `lyrics` shows the stretch that is being sung."""

from __future__ import annotations

from helicon.modalities.base import Modality, TokenizerSpec
from helicon.modalities.text import keep, read_file, write
from helicon.tokenizers.lyrics import LyricsTokenizer

MAX_BYTES = 4 << 20  # of a file: the lyrics of a day


def paired(media: str) -> str:
    """Lyrics keep their lines; nothing stands before the first or after the last of them."""
    return "\n".join(media.splitlines()).strip()


LYRICS = Modality(
    name="lyrics",
    suffixes=(".lrc", ".txt"),
    read_file=read_file,
    write=write,
    paired=paired,
    typed=str,
    keep=keep,
    max_bytes=MAX_BYTES,
    slots={
        "lyrics": {
            "lyrics": TokenizerSpec(make=LyricsTokenizer, from_state=LyricsTokenizer.from_state, needs_fit=False)
        }
    },
)
