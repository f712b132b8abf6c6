"""Byte pairs of a model folder, without end-of-text, which in our sequences is the `eos` of the block."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from helicon.bundle.importing.checkpoint import ImportingError, read_json
from helicon.formats.files import read_regular
from helicon.formats.printable import MAX_QUOTED, printable
from helicon.tokenizers.bpe_json import PARTS, load_bpe
from helicon.tokenizers.text import BpeTokenizer

WHOLE, VOCABULARY, MERGES = "tokenizer.json", "vocab.json", "merges.txt"  # the first, or both others (GPT-2's own)
# Bytes and lines of merges.txt; GPT-2 has 50,000 lines in 0.5 MB
MAX_MERGES_BYTES, MAX_MERGES = 32_000_000, 1 << 20
INSTEAD = "without tokenizer files, tokens are named by their numbers"  # what helps, in error messages


def read_byte_pairs(folder: Path, rows: int, end: int) -> tuple[BpeTokenizer, list[int]] | None:
    """Read the tokenizer of a model folder.

    Args:
        folder: with tokenizer.json, or vocab.json and merges.txt.
        rows: number of rows of the embedding matrix; there may be more than tokens.
        end: row of end-of-text, which is left out.

    Returns:
        (tokenizer, embedding row of each of its tokens in order of their ids); None when the folder has no tokenizer.

    Raises:
        ImportingError: the tokenizer is not byte-level BPE, or does not fit the weights.
    """
    described_file = _described(folder)
    if described_file is None:
        return None
    path, described = described_file
    try:
        return _without(described, rows, end)
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        reason = printable(error if isinstance(error, ValueError) else repr(error), MAX_QUOTED)
        raise ImportingError(f"{path}: {reason}; {INSTEAD}") from None


def _described(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """Return the file and the library's JSON of its tokenizer, from tokenizer.json or GPT-2's own two files."""
    if (folder / WHOLE).is_file():
        return folder / WHOLE, read_json(folder / WHOLE)
    there = [name for name in (VOCABULARY, MERGES) if (folder / name).is_file()]
    if len(there) == 1:
        raise ImportingError(f"{folder / there[0]}: {VOCABULARY} and {MERGES} are needed, or neither; {INSTEAD}")
    if not there:
        return None
    vocabulary = read_json(folder / VOCABULARY)
    try:
        content = read_regular(folder / MERGES, MAX_MERGES_BYTES)
        if content.count(b"\n") > MAX_MERGES:
            raise ValueError(f"{MERGES} has more than {MAX_MERGES:,} lines")
        lines = content.decode("utf-8").split("\n")
        merges = [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]
        tokenizer = Tokenizer(models.BPE(vocabulary, merges))  # type: ignore[arg-type]
    except Exception as error:  # the library raises no narrower one
        reason = printable(error, MAX_QUOTED)
        raise ImportingError(f"{folder / VOCABULARY}: not a vocabulary of byte pairs ({reason})") from None
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    return folder / VOCABULARY, json.loads(tokenizer.to_str())


def _without(described: dict[str, Any], rows: int, end: int) -> tuple[BpeTokenizer, list[int]]:
    """Return the tokenizer without end-of-text, its tokens renumbered without gaps, and the old id of each."""
    model, added = described["model"], described["added_tokens"] or []
    if model["type"] != "BPE" or not all("ByteLevel" in json.dumps(described[p]) for p in ("pre_tokenizer", "decoder")):
        raise ValueError(f"a tokenizer of type {printable(model['type'], 60)}, byte-level BPE is accepted")
    ids: dict[str, int] = {token["content"]: token["id"] for token in added} | model["vocab"]
    missing = set(pre_tokenizers.ByteLevel.alphabet()) - ids.keys()
    if missing:
        raise ValueError(f"{len(missing)} of the 256 bytes have no token")
    by_row = {row: name for name, row in ids.items()}
    if len(by_row) != len(ids) or not all(type(row) is int and 0 <= row < rows for row in by_row):
        raise ValueError(f"numbers must differ and be rows of the weights, 0 .. {rows - 1}")
    by_row.pop(end, None)
    kept = sorted(by_row)
    new = {by_row[row]: number for number, row in enumerate(kept)}
    # Our sequencer adds special tokens and cuts; dropout of merges would make encoding random
    described = {**dict.fromkeys(PARTS), **described, "post_processor": None, "truncation": None, "padding": None}
    described["added_tokens"] = [{**t, "id": new[t["content"]]} for t in added if t["content"] in new]
    described["model"] = model | {"vocab": new, "unk_token": None, "dropout": None}
    return BpeTokenizer(load_bpe(described)), kept
