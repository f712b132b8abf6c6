"""Result files: each item with its previews and a JSON record, a contact sheet, a page."""

from __future__ import annotations

from pathlib import Path

import helicon
from helicon.formats.files import write_json
from helicon.formats.notebook import shown_as
from helicon.formats.page import PageItem, write_page
from helicon.formats.quantities import quantity
from helicon.generation.item import Item
from helicon.generation.request import Request


def write_items(
    items: list[Item], out: Path, request: Request, model: str, model_hash: str, page_folder: Path | None = None
) -> list[PageItem]:
    """Write each item as NNN.suffix with its previews and a JSON record; several items of some media also on one sheet.

    Args:
        items: `Item`s to write.
        out: folder, made if missing.
        request: `Request`, recorded as the settings.
        model: name of the model, recorded.
        model_hash: hexadecimal hash of config and weights, recorded.
        page_folder: folder of the page that will link to the files; None for `out`.

    Returns:
        A list of a `PageItem` for each item, as a page shows it.
    """
    out.mkdir(parents=True, exist_ok=True)
    page = []
    settings = {k: str(v) if isinstance(v, Path) else v for k, v in request.record().items()}
    for place, item in enumerate(items):
        path = out / f"{place:03d}{item.suffix}"
        previews = item.save(path)
        record = {
            "helicon": helicon.__version__, "model": model, "model_hash": model_hash, "item": item.number,
            "seed": request.seed, "tokens": len(item.ids), "settings": settings,
            **({} if item.score is None else {"score": item.score}),
        }  # fmt: skip
        write_json(path.with_suffix(".json"), record)
        page.append(page_item(item, path, previews, page_folder or out))
    if len(items) > 1:
        items[0].modality.sheet([item.media for item in items], out / "sheet.png")
    return page


def page_item(item: Item, path: Path, previews: list[Path], folder: Path) -> PageItem:
    """Make the entry of an item on a page: first preview of each kind, text or player, links to the files.

    Args:
        item: the `Item`.
        path: of the file of its medium.
        previews: paths of the previews beside it.
        folder: folder of the page.

    Returns:
        A `PageItem`, with paths relative to the folder.
    """
    of_kind: dict[str, Path] = {}
    for shown in [*([path] if shown_as(path) == "audio" else []), *previews]:
        of_kind.setdefault(shown_as(shown), shown.relative_to(folder))
    files = [path.relative_to(folder), path.with_suffix(".json").relative_to(folder)]
    text = item.media if isinstance(item.media, str) else None
    return PageItem(
        title=f"Item {item.number}",
        caption=quantity(len(item.ids), "token"),
        audio=of_kind.get("audio"),
        image=of_kind.get("image"),
        text=text,
        files=files,
    )


def write_results(
    items: list[Item], out: Path, request: Request, model: str, model_hash: str, command: str
) -> Path:  # fmt: skip
    """Write all items and the page `index.html`.

    Args:
        items: `Item`s to write.
        out: folder, made if missing.
        request: `Request`, shown and recorded as the settings.
        model: path of the model, as text.
        model_hash: hexadecimal hash of config and weights.
        command: command line that the page proposes as the next step.

    Returns:
        Path of the page.
    """
    page = write_items(items, out, request, model, model_hash)
    settings = {name: value for name, value in request.record().items() if value not in (None, {}, ())}
    settings |= {"model": model, "model hash": model_hash, "helicon": helicon.__version__}
    title = f"{len(items)} {'item' if len(items) == 1 else 'items'} from {Path(model).name}"
    write_page(out / "index.html", title, "", page, settings=settings, next_steps=[command])
    return out / "index.html"
