"""Media in memory become shards without loss, the same place each time."""

import tarfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helicon.formats.audio import Sound
from helicon.modalities import registry
from helicon.sources.places import SourceError
from helicon.sources.spool import spooled
from helicon.tokenizers.musenet import parse_score


def members(folder: Path) -> dict[str, bytes]:
    contents = {}
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as shard:
            contents |= {member.name: shard.extractfile(member).read() for member in shard.getmembers()}  # type: ignore[union-attr]
    return contents


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8)


def test_texts_are_the_same_place_each_time(tmp_path: Path) -> None:
    folder = spooled(["a\r\n", "b"], [["text"]], tmp_path)
    assert members(folder) == {"000000000.txt": b"a\r\n", "000000001.txt": b"b"}
    times = [path.stat().st_mtime_ns for path in folder.iterdir()]
    assert spooled((text for text in ("a\r\n", "b")), [["text"]], tmp_path) == folder
    assert spooled(["b"], [["text"]], tmp_path) != folder
    again = spooled(["a\r\n", "b"], [["text"]], tmp_path / "other")
    assert [path.stat().st_mtime_ns for path in again.iterdir()] == times
    assert not [path for path in (tmp_path / "downloads").iterdir() if path.name.startswith(".")]


def test_pictures_are_kept_without_loss(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    Image.fromarray(picture()).save(file)
    grey = Image.fromarray(picture()[..., 0])
    folder = spooled([picture(), Image.fromarray(picture()), grey, file, str(file)], [["image"]], tmp_path)
    contents = members(folder)
    assert [*contents] == [*(f"{i:09d}.png" for i in range(3)), "000000003.jpg", "000000004.jpg"]
    for name in ("000000000.png", "000000001.png"):
        assert (np.asarray(Image.open(BytesIO(contents[name]))) == picture()).all()
    assert Image.open(BytesIO(contents["000000002.png"])).mode == "L"
    assert contents["000000003.jpg"] == file.read_bytes()


def test_sounds_and_music(tmp_path: Path) -> None:
    samples = (np.arange(100, dtype=np.float32) / 128)[:, None] - 0.5
    decoded = {"array": samples[:, 0], "sampling_rate": 8000}
    contents = members(spooled([Sound(samples, 8000), {"audio": decoded}], [["audio"]], tmp_path))
    assert contents["000000000.wav"] == contents["000000001.wav"]
    score = parse_score("start piano:v72:G1 wait:20 piano:v0:G1")
    (name, data), *_ = members(spooled([score], [["style", "music"]], tmp_path)).items()
    (tmp_path / name).write_bytes(data)
    assert registry.get("music").read(tmp_path / name)[0].notes.pitch.tolist() == score.notes.pitch.tolist()


def test_pairs_and_labels(tmp_path: Path) -> None:
    examples = [("a cat", picture()), {"text": "a dog", "image": picture(), "label": "a/../dog"}]
    names = [*members(spooled(examples, [["text", "image"]], tmp_path))]
    assert names == ["000000000.txt", "000000000.png", "a-..-dog/000000001.txt", "a-..-dog/000000001.png"]


@pytest.mark.parametrize(
    ("media", "slots", "message"),
    [
        ([], ["text"], "no media: the iterable is empty"),
        (["a", 3], ["text"], "example 1 of the media: int is no text: str or a path is accepted"),
        ([object()], ["music"], "example 0 of the media: object is no music: Score or a path"),
        (["a"], ["text", "image"], "example 0 of the media: one str; a tuple is needed: text, image"),
        ([("a",)], ["text", "image"], "1 media; 2 are needed: text, image"),
        ([{"picture": 1}], ["image"], "keys picture; image, label are accepted"),
        ([np.zeros((2, 2))], ["image"], "example 0 of the media:"),
        ([Path("a.zip")], ["image"], "a.zip: .png"),
    ],
)
def test_faults_are_one_line(tmp_path: Path, media: list, slots: list[str], message: str) -> None:
    with pytest.raises(SourceError, match=r"^[^\n]*$") as error:
        spooled(media, [slots], tmp_path)
    assert message in str(error.value)
    assert not [*(tmp_path / "downloads").iterdir()]
