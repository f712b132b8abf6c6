"""What was made, on disk: each item with its previews and how it was made, a sheet of them, a page."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import helicon
from helicon.formats.files import write_json
from helicon.formats.notebook import shown_as
from helicon.formats.page import PageItem, write_page
from helicon.generation.item import Item
from helicon.generation.request import Request


def write_items(
    items: list[Item], out: Path, request: Request, model: str, model_hash: str, page_folder: Path | None = None
) -> list[PageItem]:
    """Writes each item as NNN.suffix with its previews and a JSON of how it was made; gives items for a page.

    Several of a medium that has sheets are shown on one, too. page_folder: where the page lies; `out` unless given.
    """
    out.mkdir(parents=True, exist_ok=True)
    page = []
    settings = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(request).items()}
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
    """An item as a page shows it: the first preview of each kind, text and sound themselves, links to all files."""
    of_kind: dict[str, Path] = {}
    for shown in [*([path] if shown_as(path) == "audio" else []), *previews]:
        of_kind.setdefault(shown_as(shown), shown.relative_to(folder))
    files = [path.relative_to(folder), path.with_suffix(".json").relative_to(folder)]
    text = item.media if isinstance(item.media, str) else None
    return PageItem(
        title=f"Item {item.number}",
        caption=f"{len(item.ids)} tokens",
        audio=of_kind.get("audio"),
        image=of_kind.get("image"),
        text=text,
        files=files,
    )


def write_results(
    items: list[Item], out: Path, request: Request, model: str, model_hash: str, command: str
) -> Path:  # fmt: skip
    """All items and `index.html`; gives the page's path."""
    page = write_items(items, out, request, model, model_hash)
    settings = {name: value for name, value in asdict(request).items() if value not in (None, {}, ())}
    settings |= {"model": model, "model hash": model_hash, "helicon": helicon.__version__}
    title = f"{len(items)} {'item' if len(items) == 1 else 'items'} from {Path(model).name}"
    write_page(out / "index.html", title, "", page, settings=settings, next_steps=[command])
    return out / "index.html"
