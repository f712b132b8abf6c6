"""`helicon info`: describe a model or codec."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from textwrap import wrap
from typing import Any

from helicon.bundle.bundle import Bundle
from helicon.bundle.storage import find_bundle, load_bundle
from helicon.bundle.upsamplers import upsamplers_of
from helicon.formats.files import json_text
from helicon.formats.printable import print_text
from helicon.objectives.registry import name_of
from helicon.vqvae.storage import CodecBundle, find_codec, load_codec

MAX_INDENTED = 1 << 16  # characters of --json that are indented: nobody reads more, and deep JSON would grow by depth
WIDTH = 110  # columns of a line; 18 of them are the name
MAX_LISTED = 600  # characters of a value, some six lines; --json prints all of it


def info(args: Namespace) -> int:
    """Run `helicon info` with its parsed options; return the exit status."""
    report = report_of(Path(args.model))
    if args.json:
        compact = json_text(report, indent=None)
        print_text(json_text(report) if len(compact) < MAX_INDENTED else compact)
        return 0
    codec_lines = [line for name, value in report.items() for line in _wrapped(name, _text(value) or "none")]
    print_text("\n".join(codec_lines if "codec" in report else lines(report)))
    return 0


def report_of(path: Path) -> dict[str, Any]:
    """Describe what is in the folder of a run or bundle, as `helicon info --json` prints it.

    Args:
        path: folder of a run or bundle, of a model or a codec.

    Returns:
        JSON-able dict: of a model its folder (`bundle`), its size (`bytes`), the keys of `describe`, and the folders of
        its `upsamplers`; of a codec its folder (`codec`) and the keys of `describe_codec`.
    """
    if codec := find_codec(path):
        return {"codec": str(codec), **describe_codec(load_codec(codec))}
    folder = find_bundle(path)
    size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    upsamplers = {"upsamplers": [str(upsampler) for upsampler in upsamplers_of(folder)]}
    return {"bundle": str(folder), "bytes": size, **describe(load_bundle(path)), **upsamplers}


def describe_codec(bundle: CodecBundle) -> dict[str, Any]:
    """Describe a `CodecBundle`: JSON-able dict of `notes`, the number of `parameters`, and the keys of its config."""
    total = sum(parameter.numel() for parameter in bundle.codec.parameters())
    return {"notes": bundle.notes, "parameters": total, **bundle.config()}


def describe(bundle: Bundle) -> dict[str, Any]:
    """Describe a `Bundle`.

    Args:
        bundle: the model.

    Returns:
        JSON-able dict: `hash`; `notes` on the training; `layouts` as text; `context` in tokens; `positions`; `gpt`, its
        config; `parameters` and `parameters_without_embeddings` (of tokens and coordinates, and an untied output
        matrix), numbers; `objective` with `name`, `options` and `parameters`; `labels`; `vocabulary` with `size` and
        `fingerprint`; `blocks` (block -> ids); `coordinates` (axis -> size); `tokenizers` (slot -> description);
        `plugins`.
    """
    gpt, schema = bundle.gpt, bundle.schema
    total = gpt.parameter_count()
    tables = [gpt.tokens.weight, gpt.places.weight, *([] if gpt.head is None else [gpt.head.weight])]
    return {
        "hash": bundle.hash(),
        "notes": bundle.notes,
        "layouts": [str(layout) for layout in schema.layouts],
        "context": schema.context,
        "positions": schema.positions,
        "gpt": asdict(gpt.config),
        "parameters": total,
        "parameters_without_embeddings": total - sum(table.numel() for table in tables),
        "objective": {
            "name": name_of(bundle.objective),
            "options": asdict(bundle.objective),
            "parameters": sum(parameter.numel() for parameter in bundle.objective_modules.parameters()),
        },
        "labels": list(bundle.labels),
        "vocabulary": {"size": len(schema.vocabulary), "fingerprint": schema.vocabulary.fingerprint},
        "blocks": {block.name: len(block) for block in schema.vocabulary.blocks},
        "coordinates": dict(schema.axes),
        "tokenizers": {
            slot: {"name": name, **bundle.sequencer.tokenizers[slot].describe()}
            for slot, name in bundle.tokenizer_names.items()
        },
        "plugins": [plugin.placeless for plugin in bundle.plugins()],
    }


def lines(report: dict[str, Any]) -> list[str]:
    """Format the dict that `report_of` returns for a model as lines: a name, then its value, wrapped to a column."""
    gpt, vocabulary = report["gpt"], report["vocabulary"]
    rest = ", ".join(f"{k} {v}" for k, v in gpt.items() if k not in ("layers", "width", "heads"))
    objective, labels = report["objective"], report["labels"]
    options = {name: value for name, value in objective["options"].items() if value is not None}
    extra = [f"{objective['parameters']:,} parameters beside the GPT"] if objective["parameters"] else []
    shown = {
        "bundle": f"{report['bundle']}   {report['bytes'] / 1e6:,.1f} MB, weights {report['hash']}",
        "made by": _text(report["notes"]) or "no notes",
        "layouts": "; ".join(report["layouts"]),
        "context": f"{report['context']} tokens, positions {report['positions']}",
        "gpt": f"{gpt['layers']} layers, width {gpt['width']}, {gpt['heads']} heads; {rest}",
        "parameters": f"{report['parameters']:,}; {report['parameters_without_embeddings']:,} without embeddings",
        "objective": "; ".join([objective["name"], *([_text(options)] if options else []), *extra]),
        **({"labels": f"{_text(labels)} ({len(labels)})"} if labels else {}),
        "vocabulary": f"{vocabulary['size']:,} rows, {vocabulary['fingerprint']}; {_text(report['blocks'])}",
        "coordinates": _text(report["coordinates"]),
        **({"plugins": _text(report["plugins"])} if report["plugins"] else {}),
        **({"upsamplers": _text(report["upsamplers"])} if report["upsamplers"] else {}),
    }
    printed = [line for name, text in shown.items() for line in _wrapped(name, text)]
    for slot, tokenizer in report["tokenizers"].items():
        printed += _wrapped(slot, f"tokenizer {tokenizer['name']}")
        for name, value in tokenizer.items():
            count = f" ({len(value)})" if isinstance(value, (list, dict)) else ""
            printed += _wrapped(f"  {name}", f"{_text(value) or 'none'}{count}") if name != "name" else []
    return printed


def _text(value: Any) -> str:
    """Format a value, list or mapping as one line, cut at a comma where it is long."""
    if isinstance(value, dict):
        parts = {name: "/".join(map(str, inner)) if isinstance(inner, list) else inner for name, inner in value.items()}
        value = [f"{name} {inner}" for name, inner in parts.items()]
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    if len(text) <= MAX_LISTED:
        return text
    comma = text.rfind(",", 0, MAX_LISTED)
    return text[: comma if comma > 0 else MAX_LISTED] + ", ..."


def _wrapped(name: str, text: str) -> list[str]:
    """Wrap a value to the column right of its name."""
    first, *more = wrap(text, WIDTH - 18, break_long_words=False, break_on_hyphens=False) or [""]
    return [f"{name:<17} {first}", *(f"{'':18}{line}" for line in more)]
