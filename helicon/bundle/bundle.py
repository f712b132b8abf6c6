"""Bundle: a GPT with its sequencer, tokenizers and objective."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from torch import nn

from helicon.formats.checked import shown
from helicon.formats.notebook import html_figures
from helicon.formats.validation import ValidationRecord
from helicon.formats.weights import hash_weights
from helicon.gpt.attention.patterns import plugins_of_patterns
from helicon.gpt.config import GPTConfig
from helicon.gpt.model import GPT
from helicon.modalities import registry
from helicon.modalities.guarded import decode_ids, encode_media
from helicon.objectives.base import Network, Objective
from helicon.objectives.guarded import build_network, kept_parts
from helicon.objectives.next_token import NextToken
from helicon.objectives.registry import plugin_of
from helicon.plugins.plugin import Plugin
from helicon.sequence.layout import Schema
from helicon.tokenizers.sequencer import Sequencer


@dataclass(kw_only=True)
class Bundle:
    """A GPT with everything that turns its tokens into media.

    Attributes:
        gpt: the network.
        sequencer: layouts and tokenizers.
        tokenizer_names: slot -> name of its tokenizer in the registry.
        notes: training record: how the model was made and its losses.
        reading: options that training files were read with, such as {"pedal": "drop"}; all files for the model are read
            with them. Missing ones are filled in from the tokenizers, else from the defaults of the media.
        objective: training objective.
        labels: names of a classifier's labels, in order of their numbers; () for other objectives.
        record: `ValidationRecord` of the pieces that the model was not trained on, so that others leave them out too.

    Raises:
        ValueError: `reading` contradicts the options of a tokenizer.
    """

    gpt: GPT
    sequencer: Sequencer
    tokenizer_names: dict[str, str]
    notes: dict[str, Any] = field(default_factory=dict)
    reading: dict[str, Any] = field(default_factory=dict)
    objective: Objective = field(default_factory=NextToken)
    labels: tuple[str, ...] = ()
    record: ValidationRecord = field(default_factory=dict)

    def __post_init__(self) -> None:
        options = [tokenizer.read_options for tokenizer in self.sequencer.tokenizers.values()]
        tokenizer_options = {name: value for read_options in options for name, value in read_options.items()}
        for name, value in tokenizer_options.items():
            if self.reading.get(name, value) != value:
                raise ValueError(f"reading: {name} {shown(self.reading[name])}, its tokenizer was made for {value}")
        self.reading = registry.read_options(
            (y.all_slots for y in self.schema.layouts), self.reading | tokenizer_options
        )

    def _repr_html_(self) -> str:
        layouts, tokenizers = map(str, self.schema.layouts), self.tokenizer_names.items()
        figures = {"layouts": "; ".join(layouts), "parameters": f"{self.gpt.parameter_count():,}"}
        figures |= {"tokenizers": ", ".join(f"{name} of {slot}" for slot, name in tokenizers)}
        return html_figures({**figures, "context": self.schema.context, **self.notes})

    @cached_property
    def network(self) -> Network:
        """`Network`, the GPT with the modules that the objective adds; freshly initialised unless they are loaded."""
        return build_network(self.objective, self)

    @property
    def schema(self) -> Schema:
        """`Schema` of the model: layouts, vocabulary and coordinate axes."""
        return self.sequencer.schema

    def plugins(self) -> list[Plugin]:
        """Return the `Plugin`s, each once, that the media, tokenizers, patterns and objective come from."""
        return plugins_of_model(self.gpt.config, self.sequencer, self.tokenizer_names, self.objective)

    @property
    def objective_modules(self) -> nn.ModuleDict:
        """Modules that the objective adds to the GPT and keeps in the bundle, name -> module."""
        return kept_parts(self.objective, self.network)

    def encode(self, slot: str, media: Any) -> np.ndarray:
        """Encode an object by the tokenizer of a slot.

        Args:
            slot: its name.
            media: object of the slot's modality, such as a `Score`.

        Returns:
            Ids of T tokens within the slot's vocabulary, NumPy int64 [T], without `eos`.
        """
        return self.encode_with_report(slot, media)[0]

    def encode_with_report(self, slot: str, media: Any) -> tuple[np.ndarray, dict[str, int]]:
        """Encode an object as `encode` does, with counts of what that loses.

        Args:
            slot: its name.
            media: object of the slot's modality.

        Returns:
            Ids NumPy int64 [T] of T tokens, without `eos`, and counts of what was lost, by what it was.
        """
        return encode_media(slot, self.tokenizer_names[slot], self.sequencer.tokenizers[slot], [media])[0]

    def decode(self, slot: str, ids: Sequence[np.ndarray]) -> list[Any]:
        """Decode ids by the tokenizer of a slot.

        Args:
            slot: its name.
            ids: of each item, ids within the slot's vocabulary, NumPy integers [T].

        Returns:
            A list of one media object an item, of the slot's modality, such as `Score`.
        """
        return decode_ids(slot, self.tokenizer_names[slot], self.sequencer.tokenizers[slot], ids)

    def hash(self) -> str:
        """Return the hash of all weights, the objective's included: a string of 16 hexadecimal digits."""
        modules = {f"objective.{name}": tensor for name, tensor in self.objective_modules.state_dict().items()}
        return hash_weights(self.gpt.state_dict() | modules)


def make_gpt(config: GPTConfig, schema: Schema) -> GPT:
    """Build a freshly initialised GPT.

    Args:
        config: `GPTConfig`, architecture.
        schema: `Schema`, gives the sizes of the vocabulary and the coordinate table.

    Returns:
        The GPT, in training mode on the default device.
    """
    return GPT(config, len(schema.vocabulary), schema.coord_table_size, rope=schema.positions == "rope")


def plugins_of_model(
    config: GPTConfig, sequencer: Sequencer, tokenizer_names: Mapping[str, str], objective: Objective
) -> list[Plugin]:
    """Return the plugins that a model needs.

    Args:
        config: `GPTConfig`, architecture, whose attention patterns may be of plugins.
        sequencer: `Sequencer`, layouts and tokenizers.
        tokenizer_names: slot -> name of its tokenizer in the registry.
        objective: `Objective` of the model.

    Returns:
        List of `Plugin`s, each once.
    """
    layouts = (layout.all_slots for layout in sequencer.schema.layouts)
    media = registry.plugins_of(layouts, tokenizer_names, sequencer.tokenizers)
    return list(dict.fromkeys([*media, *plugins_of_patterns(config.pattern, config.layers), *plugin_of(objective)]))
