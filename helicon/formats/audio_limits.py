"""Limits of sound files, whichever library decodes them."""

from __future__ import annotations

MAX_CHANNELS = 64  # of a file; more are refused
SLOWEST, FASTEST = 100, 768_000  # samples a second
# Samples of all channels that are decoded of any file, and how many more for each of its bytes: speech at 6 kbit/s has
# 64 of them, silence thousands
MAX_SAMPLES, MAX_SAMPLES_A_BYTE = 48_000_000, 128
TRUNCATED = "truncated or broken file (read up to there)"


class AudioError(ValueError):
    """A file that is not a readable sound; the message is one line without the path."""


def check_length(samples: int, n_bytes: int, a_byte: int) -> int:
    """Check the number of decoded samples against the size of the file: a few bytes can hold hours of silence.

    Args:
        samples: number of samples of all channels together.
        n_bytes: size of the file in bytes.
        a_byte: samples accepted per byte of the file, beyond the first `MAX_SAMPLES`.

    Returns:
        The most samples that a file of this size may have.

    Raises:
        AudioError: `samples` is more.
    """
    most = MAX_SAMPLES + a_byte * n_bytes
    if samples > most:
        raise AudioError(f"{samples:,} samples are more than the {most:,} that a file of {n_bytes:,} bytes may have")
    return most


def check_rate(rate: int) -> None:
    """Raise AudioError for a sample rate outside SLOWEST .. FASTEST samples a second."""
    if not SLOWEST <= rate <= FASTEST:
        raise AudioError(f"{rate:,} samples a second: {SLOWEST} to {FASTEST:,} are accepted")


def check_channels(channels: int) -> None:
    """Raise AudioError for a number of channels outside 1 .. MAX_CHANNELS."""
    if not 1 <= channels <= MAX_CHANNELS:
        raise AudioError(f"{channels:,} channels: 1 to {MAX_CHANNELS} are accepted")
