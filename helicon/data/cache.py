"""Cache folders of prepared sources: their names, and loading them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import helicon
from helicon.data.corpus import MAX_INDEX_BYTES, VERSION, CorpusError, read_corpus
from helicon.data.entries import FolderScan
from helicon.data.prepared import Prepared
from helicon.data.source import DataSource, tokenizer_names_of
from helicon.formats.files import read_regular
from helicon.formats.validation import restore_record
from helicon.modalities import registry
from helicon.plugins.plugin import PluginError
from helicon.sequence.layout import Layout
from helicon.tokenizers.base import Tokenizer

READING = 6  # version of what readers make of files, such as of line ends; others are read again
PREPARED = "prepared.json"  # index of a cache folder: tokenizer states and report


def cache_key(source: DataSource, scans: Sequence[FolderScan], pretrained: Mapping[str, Tokenizer]) -> str:
    """Return the name of the cache folder of a source: a hash of all that its contents depend on.

    Args:
        source: `DataSource`, files and options.
        scans: a `FolderScan` of each layout, split, with the stamps of all files.
        pretrained: slot -> tokenizer that is used instead of fitting one.

    Returns:
        20 hexadecimal digits.
    """
    return key_of(source, [[entry.stamps for entry in scanned.entries] for scanned in scans], pretrained)


def key_of(source: DataSource, stamps: Any, pretrained: Mapping[str, Tokenizer]) -> str:
    """Return a hash of a source, its tokenizers and its files.

    Args:
        source: `DataSource`, files and options.
        stamps: JSON-able values that change with the files and their split.
        pretrained: slot -> tokenizer that is used instead of fitting one.

    Returns:
        20 hexadecimal digits.
    """
    states = {slot: tokenizer.state() for slot, tokenizer in pretrained.items()}
    tokenizer_names, layouts = tokenizer_names_of(source), [Layout.parse(spec).all_slots for spec in source.layouts]
    parts = [
        helicon.__version__, VERSION, READING, source.layouts, tokenizer_names, sorted(source.options.items()),
        [plugin.stamp for plugin in registry.plugins_of(layouts, tokenizer_names, pretrained)],
        [str(Path(origin.path).resolve()) for origin in source.all_origins],
        states, source.grow, source.examples, stamps,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts, default=str, sort_keys=True).encode()).hexdigest()[:20]


def holds(folder: Path, kept: Mapping[str, Tokenizer]) -> bool:
    """Return whether a complete cache was made with these tokenizers.

    Args:
        folder: of the cache.
        kept: slot -> tokenizer.

    Returns:
        True if its tokenizers have the same slots and states; False also where the cache is missing or damaged.
    """
    try:
        cached = load_cache(folder, kept).tokenizers
    except CorpusError:
        return False
    return {s: t.state() for s, t in cached.items()} == {s: t.state() for s, t in kept.items()}


def is_complete(folder: Path, tokenizers: Mapping[str, Tokenizer]) -> bool:
    """Check that a folder is a whole cache, undamaged.

    Args:
        folder: of the cache.
        tokenizers: slot -> tokenizer, as in `load_cache`.

    Returns:
        True if it can be loaded.
    """
    try:
        return bool(load_cache(folder, tokenizers).tokenizers)
    except CorpusError:
        return False


def load_cache(folder: Path, pretrained: Mapping[str, Tokenizer]) -> Prepared:
    """Load a cache folder.

    Args:
        folder: cache.
        pretrained: slot -> tokenizer, used where its state is that of the cache: codecs have weights that no state has.

    Returns:
        A `Prepared`: tokenizers, corpora and report.

    Raises:
        CorpusError: the cache is missing or damaged.
        PluginError: a tokenizer needs a plugin that is not loaded.
    """
    try:
        index = json.loads(read_regular(folder / PREPARED, MAX_INDEX_BYTES, links=False))
        tokenizer_names = index["choices"]
        tokenizers = restore_tokenizers(index["states"], tokenizer_names, pretrained)
        corpora = [read_corpus(folder / str(i)) for i in range(index["corpora"])]
        return Prepared(
            tokenizers=tokenizers,
            tokenizer_names=tokenizer_names,
            corpora=corpora,
            files=index["files"],
            skipped=index["skipped"],
            repaired=index["repaired"],
            record=restore_record(index["validation"]),
        )
    except (OSError, LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise error if isinstance(error, CorpusError | PluginError) else CorpusError(f"{folder}: {error}") from None


def restore_tokenizers(
    states: Mapping[str, Any], names: Mapping[str, str], pretrained: Mapping[str, Tokenizer]
) -> dict[str, Tokenizer]:
    """Restore the tokenizers of a cache.

    Args:
        states: slot -> state, as it comes back from JSON.
        names: slot -> name of the tokenizer in the registry.
        pretrained: slot -> tokenizer, used where its state is the same: codecs have weights that no state has.

    Returns:
        Slot -> tokenizer.
    """
    tokenizers = {}
    for slot, state in states.items():
        same = slot in pretrained and _plain(pretrained[slot].state()) == state
        tokenizers[slot] = pretrained[slot] if same else registry.restore_tokenizer(slot, names[slot], state)
    return tokenizers


def _plain(state: Any) -> Any:
    """Return a state as it comes back from JSON."""
    return json.loads(json.dumps(state))
