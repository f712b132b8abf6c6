"""A GPT with everything that turns its tokens into media."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from torch import nn

from helicon.formats.checked import shown
from helicon.formats.weights import hash_weights
from helicon.gpt.attention.patterns import plugins_of_patterns
from helicon.gpt.config import GPTConfig
from helicon.gpt.model import GPT
from helicon.modalities import registry
from helicon.modalities.guarded import decoded, encoded
from helicon.objectives.base import Network, Objective
from helicon.objectives.guarded import build_network, kept_parts
from helicon.objectives.next_token import NextToken
from helicon.objectives.registry import plugin_of
from helicon.plugins.plugin import Plugin
from helicon.sequence.layout import Schema
from helicon.tokenizers.sequencer import Sequencer


@dataclass(kw_only=True)
class Bundle:
    """A GPT with everything that turns its tokens into media. `notes` tell how it was made and what it reached.

    tokenizer_names: slot -> name of its tokenizer, as the registry knows it.
    reading: options with which the files it learned from were read, such as {"pedal": "drop"}: every file that is to
    be given to it is read with the same. Those that are not given are the tokenizers', else the media's defaults.
    objective: what it learned. labels: of the examples that it learned from, in the order of their numbers.
    """

    gpt: GPT
    sequencer: Sequencer
    tokenizer_names: dict[str, str]
    notes: dict[str, Any] = field(default_factory=dict)
    reading: dict[str, Any] = field(default_factory=dict)
    objective: Objective = field(default_factory=NextToken)
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        options = [tokenizer.read_options for tokenizer in self.sequencer.tokenizers.values()]
        theirs = {name: value for each in options for name, value in each.items()}
        for name, value in theirs.items():
            if self.reading.get(name, value) != value:
                raise ValueError(f"reading: {name} {shown(self.reading[name])}, its tokenizer was made for {value}")
        self.reading = registry.read_options((y.all_slots for y in self.schema.layouts), self.reading | theirs)

    @cached_property
    def network(self) -> Network:
        """The GPT with what the objective needs beyond it; freshly initialised unless it is given one."""
        return build_network(self.objective, self)

    @property
    def schema(self) -> Schema:
        """Layouts, vocabulary and coordinate axes."""
        return self.sequencer.schema

    def plugins(self) -> list[Plugin]:
        """Those that its media, tokenizers, patterns and objective come from."""
        return plugins_of_model(self.gpt.config, self.sequencer, self.tokenizer_names, self.objective)

    @property
    def objective_modules(self) -> nn.ModuleDict:
        """What the objective keeps beside the GPT, by name."""
        return kept_parts(self.objective, self.network)

    def encode(self, slot: str, media: Any) -> np.ndarray:
        """Local ids [T] of media, by the tokenizer of a slot."""
        return encoded(slot, self.tokenizer_names[slot], self.sequencer.tokenizers[slot], [media])[0][0]

    def decode(self, slot: str, ids: Sequence[np.ndarray]) -> list[Any]:
        """Media of each of some local ids [T], by the tokenizer of a slot."""
        return decoded(slot, self.tokenizer_names[slot], self.sequencer.tokenizers[slot], ids)

    def hash(self) -> str:
        """Hash of all weights, those of what the objective keeps among them: 16 hexadecimal digits."""
        beside = {f"objective.{name}": tensor for name, tensor in self.objective_modules.state_dict().items()}
        return hash_weights(self.gpt.state_dict() | beside)


def make_gpt(config: GPTConfig, schema: Schema) -> GPT:
    """A GPT for that schema, freshly initialised."""
    return GPT(config, len(schema.vocabulary), schema.coord_table_size, rope=schema.positions == "rope")


def plugins_of_model(
    config: GPTConfig, sequencer: Sequencer, tokenizer_names: Mapping[str, str], objective: Objective
) -> list[Plugin]:
    """Plugins that the media, tokenizers, patterns and objective of a model come from."""
    layouts = (layout.all_slots for layout in sequencer.schema.layouts)
    media = registry.plugins_of(layouts, tokenizer_names, sequencer.tokenizers)
    return list(dict.fromkeys([*media, *plugins_of_patterns(config.pattern, config.layers), *plugin_of(objective)]))
