"""Groups of files that make one example: of equal stem, in one folder or in folders such as images/ and captions/."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath
from typing import NamedTuple
from unicodedata import normalize

from helicon.data.entries import File
from helicon.modalities.base import Modality

# Names of folders, lower case, that lie beside each other with files of the same stems
CAPTION_FOLDERS = frozenset((
    "caption", "captions", "text", "texts", "txt", "txts", "text_c10", "prompt", "prompts", "description",
    "descriptions",
))  # fmt: skip
MEDIA_FOLDERS = frozenset((
    "image", "images", "img", "imgs", "picture", "pictures", "pic", "pics", "photo", "photos", "jpg", "png",
    "audio", "audios", "sound", "sounds", "wav", "wavs", "clips", "mp3", "flac", "music", "midi", "midis", "mid",
))  # fmt: skip


class StemFile(NamedTuple):
    """File with its stem, the path below the root without suffix, and its modality."""

    stem: PurePath
    file: File
    modality: Modality


def stem_key(stem: PurePath) -> str:
    """Return the form of a stem that is compared: systems write letters with accents as one character or as two."""
    return normalize("NFC", stem.as_posix())


def grouped_by_stem(files: Iterable[StemFile]) -> dict[str, list[StemFile]]:
    """Group files by their stems, and captions in a folder of their own with the media in the folder beside.

    Args:
        files: of all modalities, in order.

    Returns:
        Stem as `stem_key` returns it -> files, in order.
    """
    groups: dict[str, list[StemFile]] = {}
    for file in files:
        groups.setdefault(stem_key(file.stem), []).append(file)
    alone = {  # stems of captions without a medium, in folders of captions
        key: _without(key, CAPTION_FOLDERS)
        for key, group in groups.items()
        if all(file.modality.captions for file in group) and _without(key, CAPTION_FOLDERS) != key
    }
    if alone:
        beside: dict[str, list[str]] = {}
        for key, group in groups.items():
            if key not in alone and not any(file.modality.captions for file in group):
                beside.setdefault(_without(key, MEDIA_FOLDERS), []).append(key)
        for key, place in alone.items():
            if len(media := beside.get(place, [])) == 1:  # of two, neither is known to be meant
                groups[media[0]] += groups.pop(key)
    return groups


def _without(key: str, folders: frozenset[str]) -> str:
    """Return a stem without the first of its folders that has one of these names."""
    *parts, last = key.split("/")
    for i, part in enumerate(parts):
        if part.lower() in folders:
            return "/".join([*parts[:i], *parts[i + 1 :], last])
    return key
