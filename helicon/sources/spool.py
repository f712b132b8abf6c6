"""Media in memory as tar shards of the cache, without loss; equal media are the same place."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from helicon.formats.audio import Sound
from helicon.formats.files import default_cache, open_regular
from helicon.formats.progress import bar
from helicon.formats.temporary import clear_once, remove_temporary, temporary_path
from helicon.modalities import registry
from helicon.modalities.base import Modality
from helicon.sources.places import KEY_DIGITS, SourceError
from helicon.sources.record import DOWNLOADS, FILES, Record, read_record
from helicon.sources.shard_writer import Sample, write_shard

LABEL = "label"  # key of an example that is a mapping
LOSSLESS_MODES = ("1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA")  # of pictures, that PNG has


def spooled(media: Iterable[Any], slots: Sequence[Sequence[str]], cache: Path | None = None) -> Path:
    """Write media to shards in the cache, and return their folder.

    Args:
        media: examples, each of which is a medium; a tuple of one for each medium of the layout, in its order; or a
            mapping of slot -> medium, with `label` for a label. A medium is what its modality writes, such as a `Score`
            or `Sound`; a text; a picture as `PIL.Image` or uint8 [H, W, 3]; or the path of a file.
        slots: names of the slots of each layout.
        cache: folder of caches; the user's unless given.

    Returns:
        Path of the folder.

    Raises:
        SourceError: no media, or one that is not of the layouts.
        OSError: the disk is full or cannot be written, or a file cannot be read.
    """
    folder = (cache or default_cache()) / DOWNLOADS
    folder.mkdir(parents=True, exist_ok=True)
    clear_once(folder)
    temporary = temporary_path(folder / "media")
    try:
        (temporary / FILES).mkdir(parents=True)
        samples, sizes, digest, first = _samples(media, slots), {}, hashlib.sha256(), 0
        while True:
            path = temporary / FILES / f"media-{len(sizes):06d}.tar"
            count, size = write_shard(path, samples, first)
            if not count:
                break
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
            first, sizes[path.name] = first + count, size
        if not sizes:
            raise SourceError("no media: the iterable is empty")
        record, target = Record(place="media in memory", files=sizes), folder / digest.hexdigest()[:KEY_DIGITS]
        if read_record(target) is None:
            remove_temporary(target)  # what is not complete
            record.save(temporary)
            os.replace(temporary, target)
        return record.path(target)
    finally:
        remove_temporary(temporary)


def _samples(media: Iterable[Any], slots: Sequence[Sequence[str]]) -> Iterator[Sample]:
    """Yield the sample of each example."""
    by_slot = {slot: registry.for_slot(slot, layout) for layout in slots for slot in layout}
    in_files = {slot: modality for slot, modality in by_slot.items() if modality.in_files}
    ordered = list({modality.name: modality for modality in in_files.values()}.values())
    for number, example in enumerate(bar(media, of="media", unit="examples")):
        try:
            yield _sample(example, in_files, ordered)
        except (ValueError, TypeError) as error:
            raise SourceError(f"example {number} of the media: {error}") from None


def _sample(example: Any, in_files: Mapping[str, Modality], ordered: Sequence[Modality]) -> Sample:
    if isinstance(example, Mapping):
        parts = {key: value for key, value in example.items() if key != LABEL}
        if not parts or not parts.keys() <= in_files.keys():
            accepted = ", ".join([*in_files, LABEL])
            raise ValueError(f"keys {', '.join(map(str, parts)) or 'none'}; {accepted} are accepted")
        media = [(in_files[slot], value) for slot, value in parts.items()]
        label = str(example.get(LABEL) or "")
    elif isinstance(example, tuple):
        if len(example) != len(ordered):
            names = ", ".join(modality.name for modality in ordered)
            raise ValueError(f"{len(example)} media; {len(ordered)} are needed: {names}")
        media, label = list(zip(ordered, example)), ""
    elif len(ordered) > 1:
        names = ", ".join(modality.name for modality in ordered)
        raise ValueError(f"one {type(example).__name__}; a tuple is needed: {names}")
    else:
        media, label = [(ordered[0], example)], ""
    return Sample(dict(_file(modality, value) for modality, value in media), label)


def _file(modality: Modality, media: Any) -> tuple[str, bytes]:
    """Return suffix and content of the file of a medium."""
    if isinstance(media, os.PathLike) or (isinstance(media, str) and modality.typed is None):
        path = Path(media)
        if not (suffix := modality.accepted_suffix(path.name)):
            raise ValueError(f"{path}: {' '.join(modality.suffixes)} are accepted")
        with open_regular(path) as file:
            return suffix, file.read()
    suffix = modality.suffixes[0]
    if isinstance(media, str):
        return suffix, media.encode("utf-8", "replace")
    if isinstance(media, Image.Image):
        return ".png", _png(media)
    if isinstance(media, Mapping) and {"array", "sampling_rate"} <= set(media):  # as `datasets` decodes sounds
        samples = np.asarray(media["array"], np.float32)
        media = Sound(samples[:, None] if samples.ndim == 1 else samples, int(media["sampling_rate"]))
    kinds = tuple(dict.fromkeys(modality.media.values())) or (object,)
    if not isinstance(media, kinds):
        accepted = " or ".join(kind.__name__ for kind in kinds)
        raise TypeError(f"{type(media).__name__} is no {modality.name}: {accepted} or a path is accepted")
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"media{suffix}"
        modality.write(media, path)
        return suffix, path.read_bytes()


def _png(picture: Image.Image) -> bytes:
    file, profile = BytesIO(), picture.info.get("icc_profile")
    picture = picture if picture.mode in LOSSLESS_MODES else picture.convert("RGB")
    picture.save(file, "PNG", icc_profile=profile)
    return file.getvalue()
