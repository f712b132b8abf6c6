"""Suffixes of files: which are of a medium, a shard or a manifest, and what a file's first bytes say it is."""

from __future__ import annotations

from helicon.modalities import registry

SHARD = ".tar"
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")  # which are not read in place
BESIDE = (".json", ".jsonl", ".csv", ".tsv", ".caption")  # captions and manifests beside media
_SIGNATURES = (  # offset, bytes there, suffix
    (0, b"\x89PNG", ".png"), (0, b"\xff\xd8\xff", ".jpg"), (0, b"GIF8", ".gif"), (8, b"WEBP", ".webp"),
    (0, b"BM", ".bmp"), (0, b"II*\0", ".tif"), (0, b"MM\0*", ".tif"), (8, b"WAVE", ".wav"), (0, b"fLaC", ".flac"),
    (0, b"OggS", ".ogg"), (0, b"ID3", ".mp3"), (0, b"\xff\xfb", ".mp3"), (0, b"\xff\xf3", ".mp3"),
    (0, b"\xff\xf1", ".aac"), (0, b"MThd", ".mid"), (4, b"ftypM4A", ".m4a"), (4, b"ftypavif", ".avif"),
    (4, b"ftyphei", ".heic"),
)  # fmt: skip


def suffixes() -> set[str]:
    """Return the suffixes of the files of all media, plugins' too."""
    return {suffix for modality in registry.all_modalities().values() for suffix in modality.suffixes}


def is_read(name: str) -> bool:
    """Return True for the name of a file of a medium, a shard, a caption or a manifest."""
    return name.lower().endswith((SHARD, *BESIDE, *suffixes()))


def kind_of(name: str) -> str:
    """Return the suffix of a file's name, or words for a file without one."""
    base = name.rpartition("/")[2].lower()
    return f".{base.rpartition('.')[2]}" if "." in base else "without a suffix"


def suffix_of(data: bytes, path: str) -> str:
    """Find the suffix under which a file is read.

    Args:
        data: content of the file.
        path: that it had; empty for none.

    Returns:
        A suffix that some medium has, by the first bytes or else the path; empty for none.
    """
    signature = next((suffix for at, start, suffix in _SIGNATURES if data.startswith(start, at)), "")
    accepted = suffixes()
    if signature in accepted:
        return signature
    modalities = registry.all_modalities().values()
    return next((suffix for modality in modalities if (suffix := modality.accepted_suffix(path))), "")
