"""Resets between the patterns of a type 2 file, each of which begins with channels in their initial state."""

from __future__ import annotations

import numpy as np

from helicon.formats.general_midi import (
    ALL_CHANNELS,
    BANK,
    CHANNELS,
    CONTROL,
    DRUM_CHANNEL,
    PART_MODE,
    PROGRAM_CHANGE,
    RESET,
)
from helicon.formats.score import Messages


def resets(messages: Messages, start: np.ndarray) -> Messages:
    """Return messages that reset channels at the start of each track but the first.

    Bank 0, program 0 and a reset of all controllers, on the channels of the track and of the one before it. A channel
    that the one before made drums or melody by a system message becomes again what its number says. The messages are
    placed before the track's own.

    Args:
        messages: channel `Messages` of T tracks that follow one another.
        start: NumPy int64 [T], tick where each track begins.

    Returns:
        The added `Messages` only.
    """
    code = messages.track * ALL_CHANNELS + messages.channel
    used = _of_later_tracks(np.concatenate([code, code + ALL_CHANNELS]), len(start))
    modes = _of_later_tracks(code[messages.kind == PART_MODE] + ALL_CHANNELS, len(start))
    are_drums = modes % CHANNELS == DRUM_CHANNEL
    parts = (
        (modes, PART_MODE, are_drums),
        (used, CONTROL, BANK),
        (used, PROGRAM_CHANGE, 0),
        (used, CONTROL, RESET),
    )
    return Messages.joined([_messages(codes, kind, number, start) for codes, kind, number in parts])


def _of_later_tracks(codes: np.ndarray, tracks: int) -> np.ndarray:
    """Return the unique codes (track and channel), ascending, of all tracks but the first."""
    codes = np.unique(codes)
    return codes[(codes >= ALL_CHANNELS) & (codes < tracks * ALL_CHANNELS)]


def _messages(codes: np.ndarray, kind: int, number: int | np.ndarray, start: np.ndarray) -> Messages:
    """Return a message of value 0 at the start of the track for each code."""
    track, channel = np.divmod(codes, ALL_CHANNELS)
    none = np.zeros_like(codes)
    return Messages(
        tick=start[track], track=track, channel=channel, kind=none + kind, number=none + number, value=none, place=none
    )
