"""What was made, on disk: each item with its previews and how it was made, a sheet of them, a page."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import helicon
from helicon.bundle import Bundle
from helicon.formats.files import write_json
from helicon.formats.page import PageItem, write_page
from helicon.generate import Item, Request


def write_items(items: list[Item], out: Path, bundle: Bundle, request: Request, model: str) -> list[PageItem]:
    """Writes each item as NNN.suffix with its previews and a JSON of how it was made; gives items for a page.

    Several of a medium that has sheets are shown on one, too.
    """
    out.mkdir(parents=True, exist_ok=True)
    page, model_hash = [], bundle.hash()
    settings = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(request).items()}
    for place, item in enumerate(items):
        path = out / f"{place:03d}{item.modality.suffixes[0]}"
        item.modality.write(item.media, path)
        previews = item.modality.preview(item.media, path)
        record = {
            "helicon": helicon.__version__, "model": model, "model_hash": model_hash, "item": item.number,
            "seed": request.seed, "tokens": len(item.ids), "settings": settings,
            **({} if item.score is None else {"score": item.score}),
        }  # fmt: skip
        write_json(path.with_suffix(".json"), record)
        page.append(page_item(item, path, previews, out))
    if len(items) > 1:
        items[0].modality.sheet([item.media for item in items], out / "sheet.png")
    return page


def page_item(item: Item, path: Path, previews: list[Path], folder: Path) -> PageItem:
    """An item as a page shows it: the first preview of each kind, text itself, links to all files."""
    of_kind: dict[str, Path] = {}
    for preview in previews:
        kind = "image" if preview.suffix in (".png", ".jpg") else "audio" if preview.suffix in (".wav", ".flac") else ""
        of_kind.setdefault(kind, preview.relative_to(folder))
    files = [path.relative_to(folder), path.with_suffix(".json").relative_to(folder)]
    text = item.media if isinstance(item.media, str) else None
    return PageItem(
        f"Item {item.number}", f"{len(item.ids)} tokens", of_kind.get("audio"), of_kind.get("image"), text, files
    )


def write_results(items: list[Item], out: Path, bundle: Bundle, request: Request, model: str, command: str) -> Path:
    """All items and `index.html`; gives the page's path."""
    page = write_items(items, out, bundle, request, model)
    settings = {name: value for name, value in asdict(request).items() if value not in (None, {}, ())}
    settings |= {"model": model, "model hash": bundle.hash(), "helicon": helicon.__version__}
    title = f"{len(items)} {'item' if len(items) == 1 else 'items'} from {Path(model).name}"
    write_page(out / "index.html", title, "", page, settings=settings, next_steps=[command])
    return out / "index.html"
