"""Choice of the export family of a model, and the options that prevent it."""

from __future__ import annotations

from collections.abc import Iterator

from helicon.bundle.bundle import Bundle
from helicon.bundle.exporting.families import FAMILIES, ExportFamily
from helicon.gpt.attention.patterns import parse_patterns
from helicon.gpt.quantized import Int8Linear
from helicon.objectives.classify import Classifier


class ExportingError(ValueError):
    """A model that cannot be exported; the message names the options that prevent it."""


def family_of(bundle: Bundle) -> type[ExportFamily]:
    """Return the class of the family, `GPT2` or `Llama`, that a `Bundle` belongs to.

    Raises:
        ExportingError: none, with the options that each family lacks; or a model in int8.
    """
    if any(isinstance(module, Int8Linear) for module in bundle.gpt.modules()):
        raise ExportingError("a model in int8 cannot be exported: load it with dtype='fp32'")
    shared, lacking = list(_lacking_everywhere(bundle)), {family: list(family.lacks(bundle)) for family in FAMILIES}
    fitting = [family for family, options in lacking.items() if not options]
    if fitting and not shared:
        return fitting[0]
    reasons = [f"no {' or '.join(family.name for family in FAMILIES)} has {', '.join(shared)}"] if shared else []
    reasons += [] if fitting else [f"no {family.name} has {', '.join(options)}" for family, options in lacking.items()]
    raise ExportingError("; ".join(reasons))


def _lacking_everywhere(bundle: Bundle) -> Iterator[str]:
    """Yield the options that no family has, each with what all have instead."""
    config, schema = bundle.gpt.config, bundle.schema
    slots = [slot for layout in schema.layouts for slot in layout.slots]
    slot = slots[-1]
    if len(slots) > 1:
        yield f"layouts {'; '.join(map(str, schema.layouts))} (one slot such as `text`)"
    elif slot.guide or slot.grid:
        yield f"the layout {slot} (a slot without {'a guide' if slot.guide else 'rows and columns'})"
    elif slot.length is not None and isinstance(bundle.network, Classifier):
        yield f"the layout {slot} before a classification head (an open slot, whose end is the last token)"
    elif bundle.sequencer.tokenizers[slot.name].automaton:
        yield f"the coordinates that the tokens of {slot} have by what they say (text has none)"
    if {str(pattern) for pattern in parse_patterns(config.pattern, config.layers)} != {"dense"}:
        yield f"pattern {config.pattern} (dense)"
    if config.qk_norm:
        yield "qk_norm"
    if config.qk_ratio != 1:
        yield f"qk_ratio {config.qk_ratio:g} (1)"
