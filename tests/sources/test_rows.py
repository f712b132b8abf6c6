"""Rows of datasets become shards, which go on where a reading broke off."""

import json
import sys
import tarfile
import wave
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

datasets = pytest.importorskip("datasets")

from helicon.sources import rows as rows_module  # noqa: E402
from helicon.sources import shard_writer  # noqa: E402
from helicon.sources.local import is_brought, local_path, source_notes  # noqa: E402
from helicon.sources.places import SourceError  # noqa: E402


def png(colour: str = "red") -> bytes:
    file = BytesIO()
    Image.new("RGB", (4, 4), colour).save(file, "PNG")
    return file.getvalue()


def wav() -> bytes:
    file = BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(160))
    return file.getvalue()


def members(folder: Path) -> dict[str, bytes]:
    contents = {}
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as shard:
            contents |= {member.name: shard.extractfile(member).read() for member in shard.getmembers()}  # type: ignore[union-attr]
    return contents


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A hub of datasets in memory: path -> split -> `IterableDataset`."""
    there: dict[str, Any] = {}

    def load_dataset(path: str, config: str | None = None, *, streaming: bool) -> Any:
        assert streaming
        if (path, config) not in there:
            raise ValueError(f"BuilderConfig {config!r} not found.\nAvailable: ['default']")
        return there[path, config]

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return there


def streamed(rows: list[dict[str, Any]], features: Any = None) -> Any:
    return datasets.Dataset.from_list(rows, features=features).to_iterable_dataset()


def test_pictures_captions_and_labels(hub: dict[str, Any], tmp_path: Path) -> None:
    kinds = datasets.Features(
        image=datasets.Image(), caption=datasets.Value("string"), label=datasets.ClassLabel(names=["cat", "a/dog"]),
        url=datasets.Value("string"),
    )  # fmt: skip
    rows = [{"image": {"bytes": png(), "path": None}, "caption": f"no {i}", "label": i, "url": "x"} for i in range(2)]
    hub["me/pets", None] = {"train": streamed(rows, kinds)}
    lines: list[str] = []
    folder = local_path("hf:me/pets", tmp_path, lines.append)
    assert members(folder) == {
        "cat/000000000.png": png(), "cat/000000000.txt": b"no 0",
        "a-dog/000000001.png": png(), "a-dog/000000001.txt": b"no 1",
    }  # fmt: skip
    assert "columns    image (files), caption (text), label (label); left out: url" in lines
    hub.clear()
    assert local_path("hf:me/pets", tmp_path, lines.append) == folder  # without the hub
    assert is_brought("hf:me/pets", tmp_path)
    assert not is_brought("hf:me/pets:train", tmp_path)


def test_sounds_are_not_decoded(hub: dict[str, Any], tmp_path: Path) -> None:
    rows = streamed([{"audio": {"bytes": wav(), "path": "a.wav"}, "sentence": "hello"}])
    hub["me/voices", "en"] = {"test": rows.cast_column("audio", datasets.Audio())}
    folder = local_path("hf:me/voices/en:test", tmp_path)
    assert members(folder) == {"000000000.wav": wav(), "000000000.txt": b"hello"}


def test_a_part_of_the_rows(hub: dict[str, Any], tmp_path: Path) -> None:
    hub["me/texts", None] = {"train": streamed([{"text": f"text {i}"} for i in range(10)])}
    assert len(members(local_path("hf:me/texts:train[:3]", tmp_path))) == 3


class Breaking:
    """Dataset whose reading breaks off at some rows, once each."""

    features = None
    info = type("Info", (), {"splits": None})

    def __init__(self, rows: list[dict[str, Any]], breaks: list[int], first: int = 0) -> None:
        self.rows, self.breaks, self.first = rows, breaks, first

    def skip(self, count: int) -> "Breaking":
        return Breaking(self.rows, self.breaks, count)

    def __iter__(self) -> Any:
        for number, row in enumerate(self.rows[self.first :], self.first):
            if number in self.breaks:
                self.breaks.remove(number)
                raise ConnectionError("gone")
            yield row


def test_a_reading_goes_on(hub: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_writer, "SHARD_SAMPLES", 4)
    rows = [{"text": f"text {i}"} for i in range(10)]
    hub["me/texts", None] = {"train": Breaking(rows, [2, 7])}
    expected = {f"{i:09d}.txt": f"text {i}".encode() for i in range(10)}
    assert members(local_path("hf:me/texts", tmp_path)) == expected
    hub["me/more", None] = {"train": Breaking(rows, [5] * 4)}
    with pytest.raises(SourceError, match="broke off after 5 rows: gone; the same command goes on"):
        local_path("hf:me/more", tmp_path)
    assert not is_brought("hf:me/more", tmp_path)
    hub["me/more", None] = {"train": Breaking([{"text": "other"}] * 4 + rows[4:], [])}
    assert members(local_path("hf:me/more", tmp_path)) == expected  # the first shard is not read again


def test_rows_without_media_are_counted(hub: dict[str, Any], tmp_path: Path) -> None:
    kinds = datasets.Features(image=datasets.Image(), text=datasets.Value("string"))
    values = [{"bytes": png(), "path": None}, None, {"bytes": b"<html>", "path": None}, {"path": "/etc/passwd"}]
    rows = [{"image": value, "text": "x"} for value in values]
    hub["me/pets", None] = {"train": streamed(rows, kinds)}
    assert len(members(local_path("hf:me/pets", tmp_path))) == 2
    (line,) = [line for line in source_notes("hf:me/pets", tmp_path) if line.startswith("passed over")]
    assert "2 rows: without a file of a medium" in line
    assert "1 rows: that name a file elsewhere" in line


def test_a_folder_of_files(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "train.jsonl").write_text("".join(json.dumps({"id": "x", "text": f"hello {i}"}) + "\n" for i in range(3)))
    first = local_path(f"hf:{folder}", tmp_path / "cache")
    assert [*members(first).values()] == [b"hello 0", b"hello 1", b"hello 2"]
    (folder / "train.jsonl").write_text(json.dumps({"text": "hello"}) + "\n")
    assert [*members(local_path(f"hf:{folder}", tmp_path / "cache")).values()] == [b"hello"]


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("hf:", "hf:USER/DATASET"),
        ("hf:alone", "hf:USER/DATASET"),
        ("hf:me/../x/y", "hf:USER/DATASET"),
        ("hf:me/texts:none", "no split 'none'; there are test, validation"),
        ("hf:me/texts", "several splits; there are test, validation"),
        ("hf:me/texts/de", "BuilderConfig 'de' not found. Available: ['default']"),
        ("hf:me/numbers", "columns number, other; one of pictures"),
        ("hf:me/empty", "none of 0 rows"),
    ],
)
def test_faults_are_one_line(hub: dict[str, Any], tmp_path: Path, place: str, message: str) -> None:
    hub["me/texts", None] = {"test": streamed([{"text": "x"}]), "validation": streamed([{"text": "x"}])}
    hub["me/numbers", None] = {"train": streamed([{"number": 1, "other": 2.0}])}
    hub["me/empty", None] = {"train": Breaking([], [])}
    with pytest.raises(SourceError, match=r"^[^\n]*$") as error:
        local_path(place, tmp_path)
    assert message in str(error.value)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(SourceError, match=r'pip install "helicon-gpt\[hf\]"'):
        local_path("hf:me/texts", tmp_path)
    assert rows_module.parse_rows("hf:me/texts/en:test[:5]") == ("me/texts", "en", "test", 5)
