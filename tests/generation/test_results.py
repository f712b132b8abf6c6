"""What a page shows of an item: itself where it can be heard, or else its previews."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helicon.generation.generate import Item
from helicon.generation.results import page_item
from helicon.modalities import registry


def item(modality: str, media: Any = None) -> Item:
    return Item(number=4, media=media, ids=np.zeros(9, np.int64), modality=registry.get(modality))


@pytest.mark.parametrize(
    ("modality", "name", "previews", "audio", "image"),
    [
        ("audio", "004.wav", ["004.png"], "004.wav", "004.png"),
        ("audio", "004.wav", [], "004.wav", None),
        ("music", "004.mid", ["004.png", "004.wav"], "004.wav", "004.png"),
        ("image", "004.png", ["004-large.png"], None, "004-large.png"),
    ],
)
def test_sound_itself_is_played_and_other_media_are_by_their_previews(modality, name, previews, audio, image):
    folder = Path("page")
    inside = folder / "made"
    shown = page_item(item(modality), inside / name, [inside / preview for preview in previews], folder)
    expected = [None if each is None else Path("made", each) for each in (audio, image)]
    assert [shown.audio, shown.image] == expected
    assert list(shown.files) == [Path("made", name), Path("made", "004.json")]
    assert (shown.title, shown.caption, shown.text) == ("Item 4", "9 tokens", None)


def test_text_is_shown_itself():
    shown = page_item(item("text", "an ode"), Path("page/004.txt"), [], Path("page"))
    assert (shown.text, shown.audio, shown.image) == ("an ode", None, None)
