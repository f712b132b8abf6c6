"""Folders of sound: labels from folders, tokens of any tokenizer, and lyrics kept whole beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sound_bundles import noise, sound_codec

from helicon.data.entries import DataError
from helicon.data.prepare import prepare
from helicon.data.prepared import Prepared
from helicon.data.source import DataSource, modalities_of
from helicon.formats.audio import write_audio
from helicon.modalities.audio import AUDIO, codes_tokenizer
from helicon.sequence.layout import Layout

pytestmark = pytest.mark.usefixtures("one_thread")


def write_sounds(folder: Path) -> Path:
    """Four takes of two speakers, of 1,000, 1,001 ... samples."""
    for number, name in enumerate(["Ada/0", "Ada/1", "bob/2", "bob/3"]):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_audio(noise(1000 + number, number), folder / f"{name}.wav")
    return folder


def prepared(
    folder: Path, layout: str, tokenizers: dict[str, str], pretrained: dict | None = None, **options
) -> Prepared:
    source = DataSource(
        path=folder,
        layouts=(layout,),
        tokenizers=tokenizers,
        options=options,
        val_split=0.2,
        cache=folder.parent / "cache",
    )
    return prepare(source, pretrained)


@pytest.mark.parametrize(
    ("layout", "names"),
    [
        ("style[1] audio", ["label", "audio"]),
        ("style[1] audio@above", ["label", "audio"]),
        ("lyrics[8] style[1] audio", ["lyrics", "label", "audio"]),
        ("text[8] audio", ["text", "audio"]),
        ("style[3] music", ["music"]),
        ("text[8] style[1] image[4x4]", ["text", "label", "image"]),
    ],
)
def test_a_layout_has_each_medium_once(layout, names):
    assert [modality.name for modality in modalities_of(Layout.parse(layout))] == names


@pytest.mark.parametrize(("name", "tokens", "rate"), [("mulaw", 1000, 8000), ("mulaw", 500, 4000), ("pcm", 1000, 8000)])
def test_samples_with_the_folders_as_labels(tmp_path, name, tokens, rate):
    found = prepared(write_sounds(tmp_path / "data"), "style[1] audio", {"audio": name}, rate=rate)
    assert found.tokenizer_names == {"style": "labels", "audio": name}
    style, audio = found.tokenizers["style"], found.tokenizers["audio"]
    assert set(style.block.tokens) == {"ada", "bob", "any-label"}
    corpus = found.corpora[0]
    assert corpus.labels == ["Ada", "Ada", "bob", "bob"]
    assert [style.block.tokens[int(corpus.example(i)["style"][0])] for i in range(4)] == ["ada", "ada", "bob", "bob"]
    assert len(corpus.example(0)["audio"]) == tokens
    heard = audio.decode(np.asarray(corpus.example(0)["audio"]))
    assert heard.rate == rate
    if rate == 8000:
        assert np.abs(heard.samples - noise(1000, 0).samples.clip(-1, 1)).max() < 0.03


def test_codes_of_a_codec_and_of_the_level_above(tmp_path):
    levels = {"audio": codes_tokenizer(sound_codec(), 0), "above": codes_tokenizer(sound_codec(), 1, "above")}
    choices = {"audio": "codes", "above": "codes"}
    folder = write_sounds(tmp_path / "data")
    found = prepared(folder, "style[1] audio@above", choices, levels, rate=8000, channels=1)
    ids = found.corpora[0].example(1)
    assert {slot: len(each) for slot, each in ids.items()} == {"style": 1, "audio": 251, "above": 63}
    for slot, tokenizer in levels.items():
        assert np.array_equal(ids[slot], tokenizer.encode(AUDIO.read(folder / "Ada" / "1.wav")[0]))


def test_codes_without_a_codec_are_refused_with_what_to_do(tmp_path):
    with pytest.raises(ValueError, match="train one with `helicon train audio-codec DIR`"):
        prepared(write_sounds(tmp_path / "data"), "style[1] audio", {"audio": "codes"})


def test_lyrics_are_kept_whole(tmp_path):
    folder = write_sounds(tmp_path / "data")
    (folder / "Ada" / "0.lrc").write_text("[00:00.00]Sing, goddess,\n[00:00.05]the anger\n")
    (folder / "Ada" / "0.txt").write_text("not these")
    (folder / "bob" / "2.txt").write_text("of Achilles\n")
    found = prepared(folder, "lyrics[8] style[1] audio", {"audio": "mulaw"})
    corpus, lyrics = found.corpora[0], found.tokenizers["lyrics"]
    said = [lyrics.decode(np.asarray(corpus.example(i)["lyrics"])) for i in range(len(corpus))]
    assert said == ["[00:00.00]Sing, goddess,\n[00:00.05]the anger", "of Achilles"]
    assert sorted(found.skipped.values()) == [
        "no lyrics file of the same stem", "no lyrics file of the same stem", "the .lrc file of the same stem is used",
    ]  # fmt: skip


def test_a_folder_without_sound_names_what_is_accepted(tmp_path):
    (tmp_path / "a.mid").write_bytes(b"")
    with pytest.raises(DataError, match=r"no files to train on; accepted suffixes are audio: .*\.flac.*\.wav"):
        prepared(tmp_path, "style[1] audio", {})
