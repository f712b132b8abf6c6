"""What a page shows of an item: itself where it can be heard, or else its previews."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helicon.demos.composer import compose
from helicon.formats.audio import Sound, read_audio
from helicon.formats.image import read_image
from helicon.generation.item import Item
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


@pytest.mark.parametrize(
    ("modality", "media", "kinds"),
    [
        ("image", np.zeros((8, 8, 3), np.uint8), ["image/png"]),
        ("audio", Sound(np.zeros((800, 1), np.float32), 8000), ["image/png", "audio/wav"]),
        ("music", compose(3, "duet"), ["image/png", "audio/wav"]),
    ],
)
def test_an_item_shows_itself_in_a_notebook(modality, media, kinds, tmp_path):
    """All that a browser needs is within; a picture as large as people want to look at it."""
    shown = re.findall(r'src="data:([a-z/]+);base64,([^"]+)"', item(modality, media)._repr_html_())
    assert [kind for kind, _ in shown] == kinds
    files = {kind: base64.b64decode(data) for kind, data in shown}
    (tmp_path / "a.png").write_bytes(files["image/png"])
    assert read_image(tmp_path / "a.png")[0].shape[1] > 100
    if "audio/wav" in files:
        (tmp_path / "a.wav").write_bytes(files["audio/wav"])
        assert read_audio(tmp_path / "a.wav")[0].rate >= 8000


def test_an_item_is_saved_by_a_name(tmp_path):
    item("image", np.zeros((8, 8, 3), np.uint8)).save(f"{tmp_path}/a.png")
    assert (tmp_path / "a.png").is_file()


def test_texts_show_themselves_escaped():
    assert item("text", "an <ode>")._repr_html_() == "<pre>an &lt;ode&gt;</pre>"
