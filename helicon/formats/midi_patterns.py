"""Patterns of a type 2 file begin as if each were alone: what others left behind in their channels is taken back."""

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
    """What each track but the first begins with: bank 0, program 0 and a reset of all controllers.

    On the channels of the track and of the one before it. Where that one has made a channel drums or a melody by a
    system message, it becomes again what its number says. All are in the place before the track's own messages.

    Args:
        messages: of tracks that follow one another.
        start: [T] tick where each track begins.
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
    """Codes of track and channel, ascending, of all tracks but the first."""
    codes = np.unique(codes)
    return codes[(codes >= ALL_CHANNELS) & (codes < tracks * ALL_CHANNELS)]


def _messages(codes: np.ndarray, kind: int, number: int | np.ndarray, start: np.ndarray) -> Messages:
    """A message of value 0 for each code, where its track begins."""
    track, channel = np.divmod(codes, ALL_CHANNELS)
    none = np.zeros_like(codes)
    return Messages(
        tick=start[track], track=track, channel=channel, kind=none + kind, number=none + number, value=none, place=none
    )
