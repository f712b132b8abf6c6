"""Import of GPT-2 (Radford et al., 2019): layout `text`, byte pairs; end-of-text is the task token and `eos`."""

from __future__ import annotations

from collections.abc import Callable

import torch

from helicon.bundle.bundle import Bundle
from helicon.bundle.importing.byte_pairs import read_byte_pairs
from helicon.bundle.importing.checkpoint import Checkpoint
from helicon.bundle.importing.layers import build, coord_table, gpt_config
from helicon.formats.checked import shown
from helicon.formats.quantities import quantity
from helicon.sequence.layout import TASK, Layout
from helicon.tokenizers.base import Tokenizer
from helicon.tokenizers.sequencer import Sequencer
from helicon.tokenizers.text import NumbersTokenizer

SLOT = "text"  # the only one of the layout
END = 50256  # default row of end-of-text, in GPT2Config too


def import_gpt2(checkpoint: Checkpoint, log: Callable[[str], None]) -> Bundle:
    """Import a GPT-2: logits after (task, a, b ...) are its logits after (end-of-text, a, b ...).

    Rows of the vocabulary without a token are left out.

    Args:
        checkpoint: `Checkpoint`, config and tensors, which are taken from it.
        log: called with each message.

    Returns:
        The `Bundle`, in evaluation mode.

    Raises:
        ImportingError: a setting or tensor that is not supported.
    """
    tied = checkpoint.option("tie_word_embeddings", True, [True, False])
    config = gpt_config(checkpoint, "layer", "gelu_new", tied)
    rows, context = checkpoint.positive_int("vocab_size"), checkpoint.positive_int("n_positions")
    wte, wpe = (checkpoint.take(f"{n}.weight", m, config.width) for n, m in (("wte", rows), ("wpe", context)))
    end = _end(checkpoint, rows)
    kind, tokenizer, kept = _tokenizer(checkpoint, rows, end, log)

    sequencer = Sequencer([Layout.parse(SLOT)], {SLOT: tokenizer}, context)
    vocabulary = sequencer.schema.vocabulary
    token_rows = [*kept, end]  # `eos` is the last row of a block
    tokens = torch.zeros(len(vocabulary), config.width)
    tokens[vocabulary.slice(SLOT)] = wte[token_rows]
    tokens[vocabulary.slice(TASK).start] = wte[end]
    tables = {"tokens.weight": tokens, "places.weight": coord_table(sequencer.schema, wpe)}
    if not tied:
        head = tables["head.weight"] = torch.zeros(len(vocabulary), config.width)
        head[vocabulary.slice(SLOT)] = checkpoint.take("lm_head.weight", rows, config.width)[token_rows]
    return Bundle(
        gpt=build(checkpoint, config, sequencer.schema, tables), sequencer=sequencer, tokenizer_names={SLOT: kind}
    )


def _end(checkpoint: Checkpoint, rows: int) -> int:
    """Return the row of end-of-text."""
    end = checkpoint.config.get("eos_token_id", END)
    if isinstance(end, list) and len(end) == 1:
        end = end[0]
    if type(end) is not int or not 0 <= end < rows:
        raise checkpoint.fault(f"eos_token_id {shown(end)}: one row of the {rows} of the vocabulary is accepted")
    return end


def _tokenizer(
    checkpoint: Checkpoint, rows: int, end: int, log: Callable[[str], None]
) -> tuple[str, Tokenizer, list[int]]:
    """Return the name in the registry, the tokenizer, and the row of the weights of each token."""
    byte_pairs = read_byte_pairs(checkpoint.folder, rows, end)
    if byte_pairs is None:
        log("tokenizer  none in the folder: a token is named by its number, as in --text '464 3290'")
        return "numbers", NumbersTokenizer(rows, [end]), [row for row in range(rows) if row != end]
    tokenizer, kept = byte_pairs
    unnamed = rows - len({*kept, end})
    left_out = f"; {quantity(unnamed, 'row')} without a token left out" if unnamed else ""
    log(f"tokenizer  {quantity(len(kept), 'byte pair')}{left_out}")
    return "bpe", tokenizer, kept
