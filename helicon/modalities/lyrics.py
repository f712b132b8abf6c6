"""Lyrics of songs, plain or with times (LRC). The slot `lyrics` holds a sliding window around the line being sung."""

from __future__ import annotations

from helicon.formats.text_documents import unmarked
from helicon.modalities.base import Modality, TokenizerSpec
from helicon.modalities.text import TextSource, keep, read_file, write
from helicon.tokenizers.lyrics import LyricsTokenizer

MAX_BYTES = 4 << 20  # of a file: enough for the lyrics of a day


def paired(media: str) -> str:
    """Normalize lyrics, a text: line ends, also for marks; white space at the beginning and end goes."""
    return "\n".join(unmarked(media).splitlines()).strip()


LYRICS = Modality(
    name="lyrics",
    suffixes=(".lrc", ".txt"),
    read_file=read_file,
    write=write,
    paired=paired,
    typed=str,
    keep=keep,
    max_bytes=MAX_BYTES,
    source_options=TextSource,
    media={"lyrics": str},
    slots={
        "lyrics": {
            "lyrics": TokenizerSpec(make=LyricsTokenizer, from_state=LyricsTokenizer.from_state, needs_fit=False)
        }
    },
)
