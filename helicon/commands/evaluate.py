"""`helicon eval`: print the losses of a model on a folder, and its controllability."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from helicon.evaluation.losses import LayoutLoss
from helicon.evaluation.measure import check_options
from helicon.evaluation.measure import evaluate as measure
from helicon.formats.printable import print_text
from helicon.formats.quantities import quantity
from helicon.generation.runtime import RuntimeConfig, choose_device, naming_model
from helicon.sources.places import as_place


def evaluate(args: Namespace) -> int:
    """Run `helicon eval` with its parsed options; return the exit status."""
    check_options(args.validation, args.val_split, args.controllability, seconds=args.seconds, seed=args.seed)
    bundle = RuntimeConfig(choose_device(args.device, args.dtype), args.dtype).load(Path(args.model))
    with naming_model(args.model):
        evaluation = measure(
            bundle, as_place(args.path), manifest=Path(args.manifest) if args.manifest else None,
            validation=args.validation, val_split=args.val_split, controllability=args.controllability,
            seconds=args.seconds, seed=args.seed,
            source_options={"encoding": args.encoding, "separator": args.separator, "captions": args.captions},
        )  # fmt: skip
    if args.json:
        named = {"model": args.model, "model_hash": bundle.hash(), "data": args.path, "validation": args.validation}
        print_text(json.dumps({**named, **evaluation.as_json()}, indent=1, sort_keys=True))
        return 0
    print_text("\n".join(evaluation.prepared.reading()))
    print_text("\n".join(line for loss in evaluation.losses for line in table(loss)))
    for lines in evaluation.tables:
        print_text("\n".join(lines))
    if evaluation.controllability:
        print_text("\n".join(controllability_table(evaluation.controllability)))
    return 0


def table(loss: LayoutLoss) -> list[str]:
    """Format a `LayoutLoss` as the aligned lines of `helicon eval`.

    A line of the layout, one of the heads of the columns, and one for each unit (token, note, pixel, second, ...): its
    number, nats each and bits each, `-` where the number is 0.
    """
    report = loss.as_json()
    side = f"{quantity(loss.pieces, 'piece')}, {quantity(loss.targets, 'token')}; loss, lower is better:"
    lines = [f"layout     {loss.layout}   {side}", f"{'':10} {'number':>12} {'nats each':>12} {'bits each':>12}"]
    for unit, amount in {"token": loss.targets, **loss.units}.items():
        nats, bits = report.get(f"nats_per_{unit}"), report.get(f"bits_per_{unit}")
        cells = "".join(f" {value:12.4f}" if value is not None else f" {'-':>12}" for value in (nats, bits))
        lines.append(f"{unit:10} {amount:12,.0f}{cells}")
    return lines


def controllability_table(report: dict[str, Any]) -> list[str]:
    """Format the dict of `measure_controllability` as lines: figures of sampled pieces beside those of real ones."""
    words, label, tempo = report["instruments"], report.get("label"), report["tempo"]
    lines = [
        f"control    {quantity(report['pieces'], 'piece')} of {report['seconds']:g} s",
        f"  sounds   {_percent(words['pieces_without_others'])} of pieces have no sound outside the set asked",
        f"  tempo    written: largest error {_percent(tempo['written_largest_error'])}",
        *_tempo_lines(tempo),
    ]
    if not label:
        return [*lines, "  label    not measured: fewer than two labels that the model knows have enough pieces"]
    lines += [
        f"  label    accuracy on real excerpts: {_percent(label['real_accuracy'])}, chance {_percent(label['chance'])}",
        f"           asked by label alone: {_percent(label['hit_rate'])}; with the whole header of a real piece:"
        f" {_percent(label['hit_rate_whole_header'])}",
        f"  {'':18} {'real pieces':>12} {'real right':>11} {'asked':>7} {'hit':>7} {'hit, header':>12}",
    ]
    for name, row in label["labels"].items():
        cells = f"{_percent(row['real_recall']):>11} {row['asked']:>7} {_percent(row['hit']):>7}"
        lines.append(f"  {name:18} {row['real_pieces']:>12} {cells} {_percent(row['hit_whole_header']):>12}")
    return lines


def _tempo_lines(tempo: dict[str, Any]) -> Iterable[str]:
    """Yield tempo errors: of sampled pieces, of real ones, and of sampled ones against another's tempo (chance)."""
    for key, name in (("made", "made"), ("real", "real"), ("another", "made, against another's tempo")):
        row = tempo[key]
        if row["pieces"]:
            median, within = _percent(row["median_error"]), _percent(row["within_3_percent"])
            yield f"           heard, {name}: median error {median}, within 3 %: {within} of {row['pieces']}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
