"""The page a training ends with: what the model makes, how the loss went, how to go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import helicon
from helicon.bundle.bundle import Bundle
from helicon.bundle.storage import load_bundle
from helicon.bundle.upsamplers import upsamplers_of
from helicon.data.corpus import Corpus
from helicon.data.prepare import Prepared
from helicon.evaluation.measure import objective_reports
from helicon.evaluation.ngram import baselines
from helicon.formats.page import PageItem, write_page
from helicon.formats.plots import curves
from helicon.formats.progress import bar
from helicon.generation.generate import generate
from helicon.generation.request import Request
from helicon.generation.results import write_items
from helicon.generation.runtime import RuntimeConfig
from helicon.generation.stream import TokenStream
from helicon.generation.upsampling import generate_levels
from helicon.modalities import registry
from helicon.modalities.guarded import decode_ids, encode_media
from helicon.objectives.guarded import drawing_of, metrics_of
from helicon.sequence.layout import Layout
from helicon.tokenizers.abilities import Words
from helicon.tokenizers.names import slug
from helicon.training.runs.metrics import read_metrics

COUNT = 4  # items on a page
SECONDS = 20.0  # of an item, where a medium has time
COUNTED_TOKENS = 3_000_000  # above this, counting n-grams takes too long for a line in a picture


@dataclass(frozen=True)
class Asked:
    """One request and what its items are called. folder: below the page's."""

    folder: str
    request: Request
    title: str = ""


def write_result(
    page: Path, run: Path, prepared: Prepared, *, title: str, intro: str = "", asked: Sequence[Asked] | None = None,
    settings: Mapping[str, object] | None = None, next_steps: Sequence[str] = (),
) -> Path:  # fmt: skip
    """Generates what is asked for beside `page`, draws the loss curves and writes the page, which it returns."""
    bundle = load_bundle(run)
    items = make_items(
        bundle, asked if asked is not None else requests(bundle, prepared, page.parent), page.parent, str(run)
    )
    drawn = [*draw_losses(run, prepared, page.parent), *draw_objective(bundle, run, prepared, page.parent)]
    figures = [(text, picture.relative_to(page.parent)) for text, picture in drawn]
    told = {**(settings or {}), **model_settings(bundle, prepared)}
    write_page(page, title, intro, items, figures, told, next_steps)
    return page


def requests(bundle: Bundle, prepared: Prepared, root: Path) -> list[Asked]:
    """Four items in all, of every layout, with conditions of held-out examples: typed, or written below `root`."""
    asked = []
    each = max(1, COUNT // len(bundle.schema.layouts))
    for index, layout in enumerate(bundle.schema.layouts):
        name = layout.target.name
        length = _length(bundle, layout)
        folder = "generated" if len(bundle.schema.layouts) == 1 else f"generated/{name}"
        given = _conditions(prepared, index, layout, each, root / folder / "given")
        if not given:
            asked.append(Asked(folder, Request(count=each, to=name, **length)))
        for number, values in enumerate(given):
            words = tuple(slot for slot in values if _is_typed(prepared, slot, layout))
            title = ", ".join(value if slot in words else Path(value).name for slot, value in values.items())
            asked.append(
                Asked(
                    f"{folder}/{number}",
                    Request(count=1, seed=number, conditions=values, words=words, to=name, **length),
                    title,
                )
            )
    return asked


def _length(bundle: Bundle, layout: Layout) -> dict[str, Any]:
    """A piece of music lasts so long; sound ends where the model ends it, and another medium fills the context."""
    automaton = bundle.sequencer.automaton(layout)
    return {"seconds": SECONDS} if automaton and automaton.rate is None else {}


def _is_typed(prepared: Prepared, slot: str, layout: Layout) -> bool:
    """Whether a condition is words, not a file."""
    of_words = isinstance(prepared.tokenizers[slot], Words)
    return of_words or registry.for_slot(slot, layout.all_slots).typed is not None


def _conditions(prepared: Prepared, index: int, layout: Layout, count: int, folder: Path) -> list[dict[str, str]]:
    """What examples have in the slots before the last, held-out ones first: words, or else files that are written.

    As many as are asked for, each as different from the others as the data have them; none where no example has any.
    """
    corpus, found = prepared.corpora[index], []
    val, others = (corpus.select(val) for val in (True, False))
    others = others[:: max(1, len(others) // (4 * count))]  # they are in order of their labels
    for example in map(int, [*val[: 4 * count], *others[: 4 * count]]):
        values = _condition(prepared, corpus, example, layout, folder / f"{len(found)}-")
        found += [values] if values and values not in found else []
        if len(found) == count:
            break
    return [found[number % len(found)] for number in range(count)] if found else []


def _condition(prepared: Prepared, corpus: Corpus, example: int, layout: Layout, beginning: Path) -> dict[str, str]:
    """Slot -> words or file of an example; of a style its label, where the model knows it. Empty where they do not fit.

    beginning: of the paths of files.
    """
    ids, values = corpus.example(example), {}
    for slot in layout.slots[:-1]:
        modality, words = registry.for_slot(slot.name, layout.all_slots), prepared.tokenizers[slot.name]
        if isinstance(words, Words):
            label = slug(corpus.labels[example] or "")
            values |= {slot.name: label} if _knows(words, label) else {}
        elif slot.name in ids:
            tokenizer = slot.name, prepared.tokenizer_names[slot.name], words
            (media,) = decode_ids(*tokenizer, [ids[slot.name]])
            if modality.typed is not None:
                values[slot.name] = media
                # A caption that was cut within a character has something else there, which may be longer
                if len(encode_media(*tokenizer, [media])[0][0]) > (slot.length or 0):
                    return {}
            elif slot.name == modality.name:  # not a part of a medium
                path = beginning.with_name(f"{beginning.name}{slot.name}{modality.suffixes[0]}")
                modality.write(media, path)
                values[slot.name] = str(path)
    return values


def _knows(words: Words, label: str) -> bool:
    try:
        words.parse(label)
    except ValueError:
        return False
    return bool(label)


def make_items(bundle: Bundle, asked: Sequence[Asked], folder: Path, model: str) -> list[PageItem]:
    """Generates and writes each request into its own folder; items for a page in `folder`."""
    shown, model_hash = [], bundle.hash()
    several, where = upsamplers_of(Path(model) / "model"), RuntimeConfig(bundle.gpt.head_weight.device)
    with bar(of="generating", unit="tokens") as told:

        def count(streams: Sequence[TokenStream]) -> None:
            told.update(sum(not stream.done for stream in streams))

        for number, each in enumerate(asked):
            told.set_postfix_str(f"{number} of {len(asked)} done")
            out = folder / each.folder
            if several:
                made = generate_levels(Path(model), each.request, where, out, lambda *level: count)
                items, model_hash = made.items, made.model_hash
            else:
                items = generate(bundle, each.request, count)
            page = write_items(items, out, each.request, model, model_hash, folder)
            shown += [replace(item, title=each.title or item.title) for item in page]
    return shown


def draw_losses(run: Path, prepared: Prepared, folder: Path) -> list[tuple[str, Path]]:
    """(caption, picture) of the loss curve of each slot that is made, with the levels that counting reaches."""
    metrics, pictures = read_metrics(run), {}
    for corpus in prepared.corpora:
        slot = Layout.parse(corpus.layout).target.name
        names = {"training": f"train/{slot}", "held out": f"val/{slot}"}
        series = {shown: metrics[name] for shown, name in names.items() if name in metrics}
        if not series or slot in pictures:
            continue
        few = corpus.tokens(val=False) <= COUNTED_TOKENS
        counted = baselines(corpus, slot, len(prepared.tokenizers[slot].block)) if few else {}
        best = f", at best {min(metrics[f'val/{slot}'][1]):.2f} on what is held out" if f"val/{slot}" in metrics else ""
        levels = "; dashed: what counting tokens and pairs of them reaches" if counted else ""
        pictures[slot] = (f"Loss of {slot} over the training{best}{levels}.", folder / f"loss-{slot}.png")
        curves(series, pictures[slot][1], label="loss, nats a token", levels=counted)
    return list(pictures.values())


def draw_objective(bundle: Bundle, run: Path, prepared: Prepared, folder: Path) -> list[tuple[str, Path]]:
    """(caption, picture) of each figure that the objective has beside the loss of slots, and of its reports."""
    metrics, pictures = read_metrics(run), []
    for figure in set(metrics_of(bundle.objective, bundle.network)) - set(bundle.sequencer.tokenizers):
        names = {"training": f"train/{figure}", "held out": f"val/{figure}"}
        if series := {shown: metrics[name] for shown, name in names.items() if name in metrics}:
            pictures.append((f"The {figure} over the training.", folder / f"{figure}.png"))
            curves(series, pictures[-1][1], label=figure)
    layouts = [bundle.schema.layout(corpus.layout) for corpus in prepared.corpora]
    for number, report in enumerate(objective_reports(bundle, prepared, layouts, val=True).values()):
        path = folder / f"report-{number}.png"
        pictures += [(caption, path)] if (caption := drawing_of(bundle.objective, report, path)) else []
    return sorted(pictures)


def model_settings(bundle: Bundle, prepared: Prepared) -> dict[str, object]:
    """Rows of the page's table."""
    config, notes = bundle.gpt.config, bundle.notes
    told: dict[str, object] = {
        "files": f"{prepared.files:,} read, {len(prepared.skipped):,} skipped",
        "tokens": f"{sum(c.tokens(False) for c in prepared.corpora):,} to train on, "
        f"{sum(c.tokens(True) for c in prepared.corpora):,} held out",
        "layouts": "; ".join(map(str, bundle.schema.layouts)),
        "vocabulary": f"{len(bundle.schema.vocabulary):,} tokens",
        "model": f"{config.layers} layers of width {config.width}, {config.heads} heads, pattern {config.pattern}, "
        f"{bundle.gpt.parameter_count() / 1e6:.1f} M parameters",
        "context": f"{bundle.schema.context:,} tokens",
        "steps": f"{notes.get('step', 0):,}",
    }
    if "heldout_loss" in notes:
        told["held-out loss"] = f"{notes['heldout_loss']:.3f} nats a token"
    return {**told, "model hash": bundle.hash(), "helicon": helicon.__version__}
