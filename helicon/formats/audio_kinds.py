"""Kinds of sound files: their suffixes, what they begin with, and where the sound of an MP3 file begins.

The first bytes decide. Raw samples without a header are refused: any file could be played as such.
"""

from __future__ import annotations

import os
import re
from typing import BinaryIO, NamedTuple

from helicon.formats import audio_av
from helicon.formats.audio_limits import AudioError

# Suffixes of files that are accepted; the first bytes decide which of the formats `KINDS` a file has
SUFFIXES = (
    ".wav", ".flac", ".ogg", ".mp3", ".oga", ".opus", ".aiff", ".aif", ".aifc", ".au", ".snd", ".caf", ".w64",
    *(audio_av.SUFFIXES if audio_av.THERE else ()),
)  # fmt: skip
# Suffixes of sounds that are not read -> what to do
_OTHERS: tuple[str, ...] = (
    ".mp4", ".mov", ".mkv", ".avi", ".ape", ".wv", ".amr", ".ac3", ".dsf", ".mpc", ".ra", ".tta", ".aup3",
)  # fmt: skip
REMEDIES: dict[str, str] = dict.fromkeys(_OTHERS, "convert to .flac or .wav")
if not audio_av.THERE:
    REMEDIES |= dict.fromkeys(audio_av.SUFFIXES, audio_av.INSTALL)
KINDS = ("WAV", "FLAC", "OGG", "MP3", "AIFF", "AU", "CAF", "W64")
_FRAME = rb"\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff]"  # of MP3: 11 bits that are set, then layer I, II or III
_SIGNATURES = {  # what a file begins with
    "WAV": rb"(RIFF|RIFX|RF64)....WAVE",
    "FLAC": rb"fLaC",
    "OGG": rb"OggS",
    "MP3": rb"ID3|" + _FRAME,
    "AIFF": rb"FORM....AIF[FC]",
    "AU": rb"\.snd|dns\.",
    "CAF": rb"caff",
    "W64": rb"riff\x2e\x91\xcf\x11",
    # Of PyAV
    "AAC": rb"\xff[\xf0\xf1\xf8\xf9]",
    "MPEG-4": rb"....ftyp",
    "Windows Media": rb"\x30\x26\xb2\x75",
    "Matroska or WebM": rb"\x1a\x45\xdf\xa3",
    # Known by name only, so that people see what they have
    "AVI": rb"RIFF....AVI ",
    "WavPack": rb"wvpk",
    "Monkey's Audio": rb"MAC ",
    "AMR": rb"#!AMR",
    "MIDI": rb"MThd",
    "ZIP": rb"PK\x03\x04",
    "web page": rb"<",
}
# Tags in the first frame that say how many there are; of Xing's by a bit of its flags, and not 0
_LENGTH = re.compile(rb"VBRI|(Xing|Info)\0\0\0[\1\3\5\7\x09\x0b\x0d\x0f](?!\0{4})")
# Bytes of tags and zeros, and number of tags, before the first frame of an MP3 file
MAX_ID3_BYTES, MAX_ID3_TAGS = 16 << 20, 64
_HEAD = 64  # bytes that tell what a file or frame is


class Detected(NamedTuple):
    """Kind of a sound file.

    Attributes:
        kind: format, of `KINDS` or `audio_av.DEMUXERS`.
        start: offset of the first frame of an MP3 file; 0 for others.
        padding: number of zeros before it.
        says_length: False for an MP3 file without a tag that says it.
    """

    kind: str
    start: int = 0
    padding: int = 0
    says_length: bool = True


def detect(file: BinaryIO) -> Detected:
    """Detect the kind of a sound file by its first bytes.

    Args:
        file: opened in binary mode, at its beginning; its position changes.

    Raises:
        AudioError: the file is empty, or none that is read.
    """
    head = file.read(_HEAD) if os.fstat(file.fileno()).st_size else b""
    if not head:
        raise AudioError("the file is empty")
    kind = next((kind for kind, begin in _SIGNATURES.items() if re.match(begin, head, re.DOTALL)), None)
    if kind == "MP3" or not any(head):
        mp3 = _first_frame(file, head)
        if mp3:
            return mp3
        if kind:
            raise AudioError("a broken MP3 file: no frame after its tags")
    if kind not in (*KINDS, *audio_av.DEMUXERS):
        raise AudioError(f"{f'a {kind} file' if kind else 'not a sound file'}: {accepted()}")
    return Detected(kind)


def accepted() -> str:
    """Return the sentence that says which kinds are accepted."""
    return f"{', '.join([*KINDS, *(audio_av.DEMUXERS if audio_av.THERE else ())])} are accepted"


def _first_frame(file: BinaryIO, head: bytes) -> Detected | None:
    """Find the first frame after tags and zeros; None for none."""
    at, tags, padding = 0, 0, 0
    while head.startswith((b"ID3", b"\0")):
        if head.startswith(b"ID3"):  # the tag's size is 4 times 7 bits
            tags += 1
            at += 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0)))
        else:
            zeros = len(head) - len(head.lstrip(b"\0"))
            at, padding = at + zeros, padding + zeros
        if at > MAX_ID3_BYTES or tags > MAX_ID3_TAGS:
            raise AudioError(
                f"more than {MAX_ID3_BYTES:,} bytes, or {MAX_ID3_TAGS}, of ID3 tags and zeros before the sound"
            )
        file.seek(at)
        head = file.read(_HEAD)
    if not re.match(_FRAME, head):
        return None
    return Detected("MP3", at, padding, bool(_LENGTH.search(head)))
