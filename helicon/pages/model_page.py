"""Result page of a model's training: generated items, loss curves, settings, and commands to go on with."""

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
from helicon.data.prepared import Prepared
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

ITEMS = 4  # of a page, over all layouts
SECONDS = 20.0  # of an item, where the length of a medium is asked for in seconds
MAX_COUNTED_TOKENS = 3_000_000  # training tokens; counting the n-grams of more takes too long for a line in a picture


@dataclass(frozen=True)
class PageRequest:
    """Request for items of a page.

    Attributes:
        folder: folder of the items, relative to the page's folder.
        request: `Request` of what is generated.
        title: heading of the items; `Item N` when empty.
    """

    folder: str
    request: Request
    title: str = ""


def write_result(
    page: Path, run: Path, prepared: Prepared, *, title: str, intro: str = "",
    asked: Sequence[PageRequest] | None = None, settings: Mapping[str, object] | None = None,
    next_steps: Sequence[str] = (),
) -> Path:  # fmt: skip
    """Generate items, draw the curves and write the page of a model's training.

    Args:
        page: path of the HTML file; items and pictures go to its folder.
        run: folder of the run, with its model and metrics.
        prepared: `Prepared` data of the training.
        title: heading of the page.
        intro: text of the paragraph below the heading.
        asked: `PageRequest`s of the items; those of `requests` unless given.
        settings: first rows of the page's table, name -> value.
        next_steps: command lines to go on with.

    Returns:
        `page`.
    """
    bundle = load_bundle(run)
    items = make_items(
        bundle, asked if asked is not None else requests(bundle, prepared, page.parent), page.parent, str(run)
    )
    drawn = [*draw_losses(run, prepared, page.parent), *draw_objective(bundle, run, prepared, page.parent)]
    figures = [(text, picture.relative_to(page.parent)) for text, picture in drawn]
    rows = {**(settings or {}), **model_settings(bundle, prepared)}
    write_page(page, title, intro, items, figures, rows, next_steps)
    return page


def requests(bundle: Bundle, prepared: Prepared, root: Path) -> list[PageRequest]:
    """Make the requests of a page: at least an item of each layout, about ITEMS in all.

    Conditions are those of examples, held-out ones first.

    Args:
        bundle: `Bundle` of the model.
        prepared: `Prepared` data of its training.
        root: path of the page's folder, below which conditions that are files are written.

    Returns:
        `PageRequest`s, in the order of the layouts.
    """
    asked = []
    count = max(1, ITEMS // len(bundle.schema.layouts))
    for index, layout in enumerate(bundle.schema.layouts):
        name = layout.target.name
        length = _length(bundle, layout)
        folder = "generated" if len(bundle.schema.layouts) == 1 else f"generated/{name}"
        conditions = _conditions(prepared, index, layout, count, root / folder / "given")
        if not conditions:
            asked.append(PageRequest(folder, Request(count=count, to=name, **length)))
        for number, values in enumerate(conditions):
            words = tuple(slot for slot in values if _is_typed(prepared, slot, layout))
            title = ", ".join(value if slot in words else Path(value).name for slot, value in values.items())
            asked.append(
                PageRequest(
                    f"{folder}/{number}",
                    Request(count=1, seed=number, conditions=values, words=words, to=name, **length),
                    title,
                )
            )
    return asked


def _length(bundle: Bundle, layout: Layout) -> dict[str, Any]:
    """Return the request's length: SECONDS of music; other media end where the model ends them, or fill the context."""
    automaton = bundle.sequencer.automaton(layout)
    return {"seconds": SECONDS} if automaton and automaton.rate is None else {}


def _is_typed(prepared: Prepared, slot: str, layout: Layout) -> bool:
    """Return True for a condition that is typed as words, False for a file."""
    of_words = isinstance(prepared.tokenizers[slot], Words)
    return of_words or registry.for_slot(slot, layout.all_slots).typed is not None


def _conditions(prepared: Prepared, index: int, layout: Layout, count: int, folder: Path) -> list[dict[str, str]]:
    """Collect the conditions of examples, held-out ones first: `count` times slot -> words, or path of a written file.

    They differ as far as the data allow, and repeat where there are too few; empty where no example has conditions.
    """
    corpus, conditions = prepared.corpora[index], []
    val, train = (corpus.select(val) for val in (True, False))
    train = train[:: max(1, len(train) // (4 * count))]  # spread evenly, since examples are in order of their labels
    for example in map(int, [*val[: 4 * count], *train[: 4 * count]]):
        values = _condition(prepared, corpus, example, layout, folder / f"{len(conditions)}-")
        conditions += [values] if values and values not in conditions else []
        if len(conditions) == count:
            break
    return [conditions[number % len(conditions)] for number in range(count)] if conditions else []


def _condition(prepared: Prepared, corpus: Corpus, example: int, layout: Layout, prefix: Path) -> dict[str, str]:
    """Return the conditions of an example, slot -> words or path of a written file; empty where they do not fit.

    A style is the example's label, if the model knows it. Paths of files begin with `prefix`.
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
                # A caption that was cut within a character is decoded with a replacement, whose tokens may be more
                if len(encode_media(*tokenizer, [media])[0][0]) > (slot.length or 0):
                    return {}
            elif slot.name == modality.name:  # a part of a medium, such as its coarse codes, has no file
                path = prefix.with_name(f"{prefix.name}{slot.name}{modality.suffixes[0]}")
                path.parent.mkdir(parents=True, exist_ok=True)
                modality.write(media, path)
                values[slot.name] = str(path)
    return values


def _knows(words: Words, label: str) -> bool:
    """Return True for a label that a style's tokenizer has words for."""
    try:
        words.parse(label)
    except ValueError:
        return False
    return bool(label)


def make_items(bundle: Bundle, asked: Sequence[PageRequest], folder: Path, model: str) -> list[PageItem]:
    """Generate the items of requests, and write each request's into its own folder.

    Args:
        bundle: `Bundle` of the model.
        asked: `PageRequest`s.
        folder: path of the page's folder.
        model: path of the run, recorded with each item; its upsamplers are used, if it has some.

    Returns:
        A `PageItem` for each generated item, in order of the requests.
    """
    shown, model_hash = [], bundle.hash()
    upsamplers, runtime = upsamplers_of(Path(model) / "model"), RuntimeConfig(bundle.gpt.head_weight.device)
    with bar(of="generating", unit="tokens") as progress:

        def count(streams: Sequence[TokenStream]) -> None:
            progress.update(sum(not stream.done for stream in streams))

        for number, page_request in enumerate(asked):
            progress.set_postfix_str(f"{number} of {len(asked)} done")
            out = folder / page_request.folder
            if upsamplers:
                result = generate_levels(Path(model), page_request.request, runtime, out, lambda *level: count)
                items, model_hash = result.items, result.model_hash
            else:
                items = generate(bundle, page_request.request, count)
            page = write_items(items, out, page_request.request, model, model_hash, folder)
            shown += [replace(item, title=page_request.title or item.title) for item in page]
    return shown


def draw_losses(run: Path, prepared: Prepared, folder: Path) -> list[tuple[str, Path]]:
    """Draw the loss curve of each target slot, with the losses of n-gram baselines as lines.

    Args:
        run: folder of the run, with its metrics.
        prepared: `Prepared` data of the training; the n-grams are counted in its training part.
        folder: path of the folder that the pictures are written to.

    Returns:
        (caption, path of the PNG) of each slot that has metrics.
    """
    metrics, pictures = read_metrics(run), {}
    for corpus in prepared.corpora:
        slot = Layout.parse(corpus.layout).target.name
        names = {"training": f"train/{slot}", "validation": f"val/{slot}"}
        by_source = [name for name in metrics if name.startswith(f"val/{slot}/")]
        names |= {f"validation, {name.removeprefix(f'val/{slot}/')}": name for name in sorted(by_source)}
        series = {shown: metrics[name] for shown, name in names.items() if name in metrics}
        if not series or slot in pictures:
            continue
        few = corpus.tokens(val=False) <= MAX_COUNTED_TOKENS
        counted = baselines(corpus, slot, len(prepared.tokenizers[slot].block)) if few else {}
        best = f", at best {min(metrics[f'val/{slot}'][1]):.2f} on validation files" if f"val/{slot}" in metrics else ""
        levels = "; dashed: unigram and bigram baselines" if counted else ""
        pictures[slot] = (
            f"Loss of {slot} over the training{best}{levels}. Lower is better.",
            folder / f"loss-{slot}.png",
        )
        curves(series, pictures[slot][1], label="loss, nats a token", levels=counted)
    return list(pictures.values())


def draw_objective(bundle: Bundle, run: Path, prepared: Prepared, folder: Path) -> list[tuple[str, Path]]:
    """Draw the metrics of an objective beside the losses of slots, and its reports.

    Args:
        bundle: `Bundle` of the model.
        run: folder of the run, with its metrics.
        prepared: `Prepared` data of the training; reports are made of its validation part.
        folder: path of the folder that the pictures are written to.

    Returns:
        (caption, path of the PNG), in order of the captions.
    """
    metrics, pictures = read_metrics(run), []
    for figure in set(metrics_of(bundle.objective, bundle.network)) - set(bundle.sequencer.tokenizers):
        names = {"training": f"train/{figure}", "validation": f"val/{figure}"}
        if series := {shown: metrics[name] for shown, name in names.items() if name in metrics}:
            pictures.append((f"The {figure} over the training.", folder / f"{figure}.png"))
            curves(series, pictures[-1][1], label=figure)
    layouts = [bundle.schema.layout(corpus.layout) for corpus in prepared.corpora]
    for number, report in enumerate(objective_reports(bundle, prepared, layouts, val=True).values()):
        path = folder / f"report-{number}.png"
        pictures += [(caption, path)] if (caption := drawing_of(bundle.objective, report, path)) else []
    return sorted(pictures)


def model_settings(bundle: Bundle, prepared: Prepared) -> dict[str, object]:
    """Describe a model and its data.

    Args:
        bundle: `Bundle` of the model.
        prepared: `Prepared` data of its training.

    Returns:
        Rows of the page's table, name -> value.
    """
    config, notes = bundle.gpt.config, bundle.notes
    rows: dict[str, object] = {
        "files": f"{prepared.files:,} read, {len(prepared.skipped):,} skipped",
        "tokens": f"{'about ' if prepared.scale > 1 else ''}{prepared.train_tokens:,} for training, "
        f"{sum(c.tokens(True) for c in prepared.corpora):,} for validation",
        "layouts": "; ".join(map(str, bundle.schema.layouts)),
        "vocabulary": f"{len(bundle.schema.vocabulary):,} tokens",
        "model": f"{config.layers} layers of width {config.width}, {config.heads} heads, pattern {config.pattern}, "
        f"{bundle.gpt.parameter_count() / 1e6:.1f} M parameters",
        "context": f"{bundle.schema.context:,} tokens",
        "steps": f"{notes.get('step', 0):,}",
    }
    if "val_loss" in notes:
        rows["validation loss"] = f"{notes['val_loss']:.3f} nats a token"
    return {**rows, "model hash": bundle.hash(), "helicon": helicon.__version__}
