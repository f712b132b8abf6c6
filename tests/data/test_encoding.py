"""Media to ids: by other processes where tokenizers can go there, together where a codec is needed."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from image_bundles import CENTROIDS, picture
from sound_bundles import noise, sound_codec

from helicon.data import encoding
from helicon.data.encoding import EncodedExample, EncodingJob, SlotEncoder, StatisticsJob, encode, grouped
from helicon.data.entries import Entry, Side
from helicon.data.reading import Reader, Variants
from helicon.demos.composer import write_folder
from helicon.formats.audio import write_audio
from helicon.formats.image import write_image
from helicon.modalities.audio import AUDIO, codes_tokenizer
from helicon.modalities.image import IMAGE
from helicon.modalities.music import MUSIC, fit_music, fit_style
from helicon.modalities.text import TEXT
from helicon.sequence.layout import Layout
from helicon.tokenizers.codec import CodecTokenizer
from helicon.tokenizers.labels import LabelTokenizer
from helicon.tokenizers.lyrics import LyricsTokenizer
from helicon.tokenizers.mulaw import MulawTokenizer
from helicon.tokenizers.palette import PaletteTokenizer
from helicon.tokenizers.pcm import PcmTokenizer
from helicon.tokenizers.rgb import RgbTokenizer
from helicon.tokenizers.survey import MusicSurvey
from helicon.tokenizers.text import BpeTokenizer, BytesTokenizer, NumbersTokenizer

pytestmark = pytest.mark.usefixtures("one_thread")

WORDS = ["a red apple", "two green pears"]


class Together(CodecTokenizer[np.ndarray]):
    """Colours of a palette as codes, and how many pictures went through together each time."""

    def __init__(self) -> None:
        super().__init__(torch.nn.Identity(), len(CENTROIDS), {}, {}, "image")
        self.palette, self.taken = PaletteTokenizer(CENTROIDS, 4), []

    def encode_many(self, media: Sequence[np.ndarray]) -> list[np.ndarray]:
        self.taken.append(len(media))
        return [self.palette.encode(each) for each in media]

    def decode_many(self, ids: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [self.palette.decode(each) for each in ids]

    def at_level(self, level: int, block: str) -> Together:
        return self


class Locked(BytesTokenizer):
    """A tokenizer that cannot be sent to another process."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


def captioned(folder: Path, count: int) -> list[Entry]:
    """Pictures with one or two captions each."""
    for i in range(count):
        write_image(picture(i), folder / f"{i}.png")
    return [
        Entry(name=str(i), files={"image": folder / f"{i}.png"}, texts=tuple(WORDS[: 1 + i % 2])) for i in range(count)
    ]


def test_pictures_of_a_codec_go_through_it_together_with_their_captions_beside_them(tmp_path, monkeypatch):
    monkeypatch.setattr(encoding, "ENCODED_AT_ONCE", 3)
    codec, layout = Together(), Layout.parse("text[12] image[4x4]")
    reader = Reader(captioned(tmp_path, 8), [TEXT, IMAGE], {"size": 4})
    found = list(encode(reader, layout, {"text": "text", "image": "image"}, {"text": BytesTokenizer(), "image": codec}))
    assert codec.taken == [3, 3, 2]
    assert [entry.name for entry, _ in found] == [piece.name for _, piece in found] == list("01234567")
    for i, (_, piece) in enumerate(found):
        assert [bytes(coded.ids) for coded in piece.ids["text"]] == [w.encode()[:12] for w in WORDS[: 1 + i % 2]]
        (image,) = piece.ids["image"]
        assert np.array_equal(image.ids, codec.encode(picture(i)))
        assert image.ids.dtype == np.uint8
    assert found[1][1].ids["text"][1].lost == {"text tokens cut": len("two green pears") - 12}


def test_sounds_of_two_levels_are_what_each_is_alone(tmp_path):
    levels = {"audio": codes_tokenizer(sound_codec(), 0), "above": codes_tokenizer(sound_codec(), 1, "above")}
    lengths = (1000, 300, 999, 17)
    for i, samples in enumerate(lengths):
        write_audio(noise(samples, i), tmp_path / f"{i}.wav")
    reader = Reader(
        [Entry(name=str(i), files={"audio": tmp_path / f"{i}.wav"}) for i in range(len(lengths))], [AUDIO], {}
    )
    names = dict.fromkeys(levels, "audio")
    for i, (_, piece) in enumerate(encode(reader, Layout.parse("audio@above"), names, levels)):
        sound, _ = AUDIO.read(tmp_path / f"{i}.wav")
        for slot, tokenizer in levels.items():
            assert np.array_equal(piece.ids[slot][0].ids, tokenizer.encode(sound))


def pieces(*sizes: int) -> list[tuple[Entry, EncodedExample]]:
    return [
        (Entry(name="", files={}), EncodedExample(str(i), {}, {"image": np.zeros(n, np.uint8)}))
        for i, n in enumerate(sizes)
    ]


@pytest.mark.parametrize(
    ("sizes", "groups"),
    [((5, 5, 5, 5, 5), ["012", "34"]), ((90, 20, 5), ["01", "2"]), ((100, 100), ["0", "1"]), ((), [])],
)
def test_so_many_go_together(monkeypatch, sizes, groups):
    monkeypatch.setattr(encoding, "ENCODED_AT_ONCE", 3)
    monkeypatch.setattr(encoding, "ENCODED_AT_ONCE_BYTES", 100)
    assert ["".join(piece.name for _, piece in group) for group in grouped(pieces(*sizes))] == groups


def test_alternatives_count_by_what_they_take(monkeypatch):
    monkeypatch.setattr(encoding, "ENCODED_AT_ONCE_BYTES", 100)
    several = Variants([np.zeros(60, np.uint8)] * 2)
    found = [(Entry(name="", files={}), EncodedExample(str(i), {}, {"image": several})) for i in range(2)]
    assert [len(group) for group in grouped(found)] == [1, 1]


def music_tokenizers(folder: Path) -> dict:
    """Those of made-up pieces, and one of them."""
    write_folder(folder, 2, seed=1)
    scores = [MUSIC.read(path, "bach")[0] for path in sorted(folder.rglob("*.mid"))]
    surveys = list(map(MusicSurvey.of, scores))
    return {"music": (fit_music(surveys), scores[0]), "style": (fit_style(surveys), scores[0])}


def test_all_but_codecs_can_go_to_other_processes(tmp_path):
    known = {
        **music_tokenizers(tmp_path), "palette": (PaletteTokenizer(CENTROIDS, 4), picture(1)),
        "rgb": (RgbTokenizer(4), picture(2)), "mulaw": (MulawTokenizer(8000), noise(50)),
        "pcm": (PcmTokenizer(8000), noise(50)), "bytes": (BytesTokenizer(), WORDS[0]),
        "bpe": (BpeTokenizer.train(WORDS, 270), WORDS[1]), "numbers": (NumbersTokenizer(20), "3 19 4"),
        "labels": (LabelTokenizer(["bell"]), "bell"), "lyrics": (LyricsTokenizer(), "Sing,\ngoddess"),
    }  # fmt: skip
    for tokenizer, media in known.values():
        assert SlotEncoder(slot="", modality="", tokenizer=tokenizer, room=None).travels
        again = pickle.loads(pickle.dumps(tokenizer))
        assert again.block == tokenizer.block
        assert np.array_equal(again.encode(media), tokenizer.encode(media))
    for tokenizer in (codes_tokenizer(sound_codec()), Together(), Locked()):
        assert not SlotEncoder(slot="", modality="", tokenizer=tokenizer, room=None).travels


def test_what_cannot_go_is_encoded_here(tmp_path):
    (tmp_path / "a.txt").write_text("abc")
    reader = Reader([Entry(name="a", files={"text": tmp_path / "a.txt"})], [TEXT], {})
    (found,) = encode(reader, Layout.parse("text"), {"text": "text"}, {"text": Locked()})
    assert bytes(found[1].ids["text"][0].ids) == b"abc"


def test_long_text_is_several_pieces():
    lines = "".join(f"line {i}\n" for i in range(4000))
    coder = SlotEncoder(slot="text", modality="text", tokenizer=BytesTokenizer(), room=None)
    made = EncodingJob(Layout.parse("text"), {"text": "text"}, [coder])(Entry(name="book", files={}), {"text": lines})
    assert [piece.name for piece in made] == ["book#0", "book#1", "book#2"]
    assert b"".join(bytes(piece.ids["text"][0].ids) for piece in made).decode() == lines
    assert all(len(a.ids["text"][0].ids) > len(b.ids["text"][0].ids) - 99 for a, b in pairwise(made))


@pytest.mark.parametrize(("spec", "names"), [("text", ["a#0", "a#1"]), ("text[8]", ["a#0", "a#1"])])
def test_documents_between_marks_are_examples_of_their_own(spec, names):
    tokenizer = BytesTokenizer()
    job = EncodingJob(
        Layout.parse(spec),
        {"text": "text"},
        [SlotEncoder(slot="text", modality="text", tokenizer=tokenizer, room=8)],
    )
    text = "one\n<|endoftext|>\ntwo\n"
    entry = Entry(name="a", files={"text": Path("a.txt")})
    found = job(entry, {"text": text})
    assert [piece.name for piece in found] == names
    assert [tokenizer.decode(piece.ids["text"][0].ids) for piece in found] == ["one\n", "two\n"]
    (side,) = job(Entry(name="a", files={"text": Path("a.txt")}, side=Side("p", True)), {"text": text})
    assert tokenizer.decode(side.ids["text"][0].ids) == "one\n"
    assert StatisticsJob(["text"])(entry, {"text": text})["text"] == ["one\n\ntwo\n"]


def test_surveys_are_of_what_is_asked_and_of_each_alternative():
    media = {"text": Variants([" a  cat ", "a dog"]), "image": picture(0)}
    entry = Entry(name="", files={})
    assert StatisticsJob(["text"])(entry, media) == {"text": ["a cat", "a dog"]}
    assert StatisticsJob([])(entry, media) == {}
    (pixels,) = StatisticsJob(["image"])(entry, media)["image"]
    assert np.array_equal(pixels, picture(0).reshape(-1, 3))
