"""Sound files for tests: WAV headers with anything in them, and small files of every kind."""

import io
import struct
from functools import cache
from pathlib import Path

import numpy as np
import soundfile

from helicon.formats.audio import read_audio

PCM, FLOAT, ALAW, MULAW = 1, 3, 6, 7  # what the samples of a WAV file are


def wav(
    data: bytes, *, rate: int = 8000, channels: int = 1, bits: int = 16, tag: int = PCM, claim: int | None = None
) -> bytes:  # fmt: skip
    """A WAV file of these bytes of samples. claim: how many of them its header says there are."""
    frame = max(1, channels * bits // 8)
    claim = len(data) if claim is None else claim
    form = struct.pack("<4sL2H2L2H", b"fmt ", 16, tag, channels, rate, rate * frame % 2**32, frame % 2**16, bits)
    sizes = (min(claim + 36, 2**32 - 1), claim)
    return struct.pack("<4sL4s", b"RIFF", sizes[0], b"WAVE") + form + struct.pack("<4sL", b"data", sizes[1]) + data


def encoded(samples: np.ndarray, format: str, subtype: str | None = None, rate: int = 8000) -> bytes:
    """A file of samples [S] or [S, C], as soundfile writes it."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=format, subtype=subtype)
    return file.getvalue()


def chirp(n: int, channels: int = 1, rate: int = 8000) -> np.ndarray:
    """float32 [n, channels]: a tone that rises, with a little noise; each channel softer than the one before."""
    t_s = np.arange(n) / rate
    tone = 0.5 * np.sin(2 * np.pi * (200 + 400 * t_s) * t_s) + np.random.default_rng(0).normal(0, 0.02, n)
    return (tone[:, None] / np.arange(1, channels + 1)).astype(np.float32)


def read(folder: Path, data: bytes, name: str = "a.wav", **options) -> tuple[list, int, dict[str, int]]:
    """Samples, rate and counts of a file of these bytes."""
    (folder / name).write_bytes(data)
    sound, report = read_audio(folder / name, **options)
    assert sound.samples.dtype == np.float32
    return sound.samples.tolist(), sound.rate, report.counts


@cache
def small_files() -> dict[str, bytes]:
    """name -> a file of some hundred or thousand samples, of every kind and of many encodings."""
    few, more = chirp(300, 2), chirp(4000, 2)
    return {
        "pcm16.wav": encoded(few, "WAV"),
        "pcm8.wav": encoded(few, "WAV", "PCM_U8"),
        "pcm24.wav": encoded(few, "WAV", "PCM_24"),
        "float.wav": encoded(few, "WAV", "FLOAT"),
        "double.wav": encoded(few, "WAV", "DOUBLE"),
        "mulaw.wav": encoded(few, "WAV", "ULAW"),
        "adpcm.wav": encoded(more, "WAV", "IMA_ADPCM"),
        "gsm.wav": encoded(more[:, 0], "WAV", "GSM610"),
        "extensible.wav": encoded(few, "WAVEX"),
        "rf64.wav": encoded(few, "RF64"),
        "a.flac": encoded(more, "FLAC"),
        "vorbis.ogg": encoded(more, "OGG", "VORBIS"),
        "opus.opus": encoded(more, "OGG", "OPUS"),
        "a.mp3": encoded(more, "MP3"),
        "a.aiff": encoded(few, "AIFF"),
        "a.au": encoded(few, "AU"),
        "a.caf": encoded(few, "CAF"),
        "alac.caf": encoded(more, "CAF", "ALAC_16"),
        "a.w64": encoded(few, "W64"),
    }
