"""Folders and manifests of a stranger: nothing outside is read, nothing but files is opened, and all of it ends."""

from __future__ import annotations

import json
import os
import tarfile
import time
from pathlib import Path

import pytest
from harness import attempt, command, posix

from helicon.data.entries import DataError
from helicon.data.files import scan
from helicon.data.folders import NOT_REGULAR, walk
from helicon.data.prepare import prepare
from helicon.data.reading import Reader
from helicon.data.source import DataSource
from helicon.modalities import registry

pytestmark = posix
TEXT = [registry.get("text")]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with one text, beside a secret one."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a.txt").write_text("a text")
    (tmp_path / "secret.txt").write_text("secret")
    return folder


def read_all(folder: Path, manifest: Path | None = None) -> tuple[list[str], dict[str, str], list[str]]:
    """Texts of a folder, what is skipped and why, and the notes."""
    found = scan(folder, TEXT, manifest)
    reader = Reader(found.entries, TEXT, {})
    texts = [media["text"] for _, media in reader.read("reading")]
    return texts, {**found.skipped, **reader.skipped}, found.notes


def _names(data: Path) -> list[str]:
    """Ways to name the secret from within."""
    secret = data.parent / "secret.txt"
    (data / "deep").mkdir()
    (data / "link").symlink_to(data.parent, target_is_directory=True)
    return ["../secret.txt", str(secret), "deep/../../secret.txt", "./.././secret.txt", "link/data/../secret.txt"]


def _write(manifest: Path, names: list[str]) -> Path:
    if manifest.suffix == ".json":
        images = [{"id": i, "file_name": name} for i, name in enumerate(names)]
        manifest.write_text(json.dumps({"images": images, "annotations": []}))
    elif manifest.suffix == ".csv":
        manifest.write_text("\n".join(["file", *names]))
    else:
        manifest.write_text("\n".join(json.dumps({"file": name}) for name in names))
    return manifest


@pytest.mark.parametrize("kind", ["m.jsonl", "m.csv", "m.json", "deep/m.jsonl"])
def test_a_manifest_among_the_data_names_files_of_the_folder_only(data: Path, kind: str) -> None:
    names = _names(data)
    texts, skipped, notes = read_all(data, _write(data / kind, [*names, "a.txt", "deep/../a.txt", str(data / "a.txt")]))
    assert (texts, notes) == (["a text"] * 3, [])
    assert len(skipped) == len({Path(name) for name in names})
    assert all("outside of the folder" in reason for reason in skipped.values())


def test_a_manifest_that_one_names_oneself_may_name_any_file(data: Path, tmp_path: Path) -> None:
    _names(data)
    names = ["a.txt", "../secret.txt", str(tmp_path / "secret.txt")]
    texts, _, notes = read_all(data, _write(tmp_path / "m.jsonl", names))
    assert sorted(texts) == ["a text", "secret", "secret"]
    assert notes == [f"manifest   {tmp_path / 'm.jsonl'} names 2 files outside {data}"]
    source = DataSource(
        path=data,
        layouts=("text",),
        tokenizers={"text": "bytes"},
        manifest=tmp_path / "m.jsonl",
        cache=tmp_path / "cache",
    )
    for _ in range(2):  # built, and from the cache
        assert prepare(source).summary().count("names 2 files outside") == 1


def test_what_is_no_regular_file_is_never_opened(data: Path, tmp_path: Path) -> None:
    """A pipe is waited for without end, and a device read without one; files of /proc have no size that they tell."""
    os.mkfifo(data / "pipe.txt")
    os.mkfifo(data / "pipe.tar")
    os.mkfifo(data / "pipe")
    for name in ("zero", "stdin"):
        (data / f"{name}.txt").symlink_to(f"/dev/{name}")
    (data / "none.txt").symlink_to("nowhere")
    if Path("/proc/kmsg").exists():
        (data / "log.txt").symlink_to("/proc/kmsg")
        (data / "environment.txt").symlink_to("/proc/self/environ")
    ended = attempt(read_all, data)
    ended.is_cheap()
    assert "'a text'" in ended.value, ended
    assert "PYTEST" not in ended.value  # of the environment
    assert ended.value.count(NOT_REGULAR) >= 4
    assert "a link to nothing" in ended.value
    for name in ("pipe.txt", "zero.txt"):
        manifest = _write(data / "m.jsonl", [name])
        attempt(read_all, data, manifest).is_refusal(NOT_REGULAR)
    attempt(read_all, data, data / "pipe").is_refusal("pipe", "a manifest")
    attempt(read_all, data / "pipe.txt").is_refusal("pipe.txt")


@pytest.mark.parametrize("words", [["tokenize", "FIFO"], ["detokenize", "FIFO", "-o", "x.mid"]])
def test_commands_do_not_wait_for_pipes(words: list[str], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mid")
    ended = command([word.replace("FIFO", str(tmp_path / "a.mid")) for word in words], tmp_path)
    assert ended.value == "1"
    assert "pipe" in ended.err


def test_links_are_followed_and_loops_seen(data: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "deep").mkdir(parents=True)
    (elsewhere / "deep" / "b.txt").write_text("elsewhere")
    (elsewhere / "back").symlink_to(data)
    (elsewhere / "self").symlink_to(elsewhere)
    (data / "z").symlink_to(elsewhere)
    (data / "y").symlink_to(elsewhere)
    (data / "up").symlink_to("..")
    (data / "root").symlink_to("/")
    (data / "loop").symlink_to("loop")
    (data / "c.txt").symlink_to("a.txt")
    found = scan(data, TEXT)
    assert [(entry.name, entry.label) for entry in found.entries] == [
        ("a.txt", None), ("c.txt", None), ("y/deep/b.txt", "y"),
    ]  # fmt: skip
    assert found.notes == [f"links      2 in {data} followed"]
    reasons = {Path(name).name: reason.partition(":")[0] for name, reason in found.skipped.items()}
    assert reasons == {
        "z": "a link to a folder that is searched already", "self": "a link to a folder that is searched already",
        "back": "a link to a folder that holds this one", "up": "a link to a folder that holds this one",
        "root": "a link to a folder that holds this one", "loop": "a link to nothing",
    }  # fmt: skip


def test_many_links_to_one_folder(data: Path) -> None:
    """All of them were sorted again for each: eight times as many took thirty times as long."""
    seconds = {500: 9.0, 4000: 9.0}
    for count in seconds:
        (data / str(count) / "z").mkdir(parents=True)
        for i in range(count):
            (data / str(count) / f"l{i}").symlink_to("z")
        for _ in range(3):
            began = time.process_time()
            assert len(walk(data / str(count)).skipped) == count
            seconds[count] = min(seconds[count], time.process_time() - began)
    assert seconds[4000] < 16 * seconds[500], seconds


def test_deep_folders(data: Path) -> None:
    """Python's own walk was recursive."""
    here = os.open(data, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=here)
        here, before = os.open("d", os.O_RDONLY, dir_fd=here), here
        os.close(before)
    os.close(os.open("deep.txt", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    try:
        ended = attempt(lambda: len(scan(data, TEXT).entries))
    finally:  # what clears temporary folders is recursive too
        while (data / "d" / "d").exists():
            (data / "d" / "d").rename(data / "e")
            (data / "d").rmdir()
            (data / "e").rename(data / "d")
    ended.is_cheap()
    assert ended.value == "2", ended


def test_many_files(data: Path) -> None:
    for i in range(3_000):
        (data / f"{i}.txt").touch()
    attempt(lambda: len(scan(data, TEXT).entries)).is_cheap()


MANIFESTS = {
    "line.jsonl": lambda: '{"file": "' + "a" * 50_000_000 + '"}',
    "line.csv": lambda: "file\n" + "a" * 50_000_000,
    "quote.csv": lambda: 'file\n"' + "a\n" * 10_000_000,
    "columns.csv": lambda: "," * 40_000_000,
    "nested.json": lambda: "[" * 20_000_000,
    "nested.jsonl": lambda: "[" * 1_000_000,
    "digits.jsonl": lambda: '{"file": "a.txt", "label": ' + "9" * 100_000 + "}",
    "name.jsonl": lambda: json.dumps({"file": "a" * 500_000 + ".txt"}),
    "escapes.jsonl": lambda: json.dumps({"file": "\x1b]0;pwn\x07\u202e.txt"}),
    "nul.jsonl": lambda: json.dumps({"file": "a\0.txt"}),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifests_end(name: str, data: Path) -> None:
    (data / name).write_text(MANIFESTS[name]())
    ended = attempt(read_all, data, data / name)
    print(name, "bytes:", ended.kind, ended.error[:300], ended.seconds, ended.megabytes)
    ended.is_refusal(name if "name" not in name else "")


@pytest.mark.parametrize("name", ["line.jsonl", "line.csv"])
def test_long_lines_are_not_read_whole(name: str, data: Path) -> None:
    (data / name).write_text(MANIFESTS[name]())
    with pytest.raises(DataError, match=r"line \d: more than 8,388,608 characters"):
        scan(data, TEXT, data / name)


def test_sparse_manifests(data: Path) -> None:
    for name in ("m.json", "m.jsonl", "m.csv"):
        with (data / name).open("wb") as file:
            file.truncate(1 << 40)
        attempt(read_all, data, data / name).is_refusal(name)


def test_a_huge_file_of_a_shard_is_not_unpacked(data: Path) -> None:
    """A terabyte that takes no room in its shard takes it where it is unpacked."""
    for suffix in (".txt", ".mid", ".png", ".wav"):
        shard, size = data / "s.tar", 1 << 40
        info = tarfile.TarInfo(f"a{suffix}")
        info.size = size
        with shard.open("wb") as file:
            file.write(info.tobuf(tarfile.GNU_FORMAT))
            file.truncate(512 + size + 1024)
        medium = [m for m in registry.all_modalities().values() if suffix in m.suffixes][:1]

        def run(medium: list = medium, shard: Path = shard) -> dict[str, str]:
            reader = Reader(scan(shard, medium).entries, medium, {})
            assert not list(reader.read("reading"))
            return reader.skipped

        ended = attempt(run)
        ended.is_cheap()
        assert "1,099,511,627,776 bytes" in ended.value, ended


def test_nothing_to_train_on_is_an_error(data: Path) -> None:
    with pytest.raises(DataError, match="outside of the folder"):
        scan(data, TEXT, _write(data / "m.jsonl", ["../secret.txt"]))
