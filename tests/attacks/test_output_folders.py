"""Results go where -o says and nowhere else, of one command at a time; what is typed is refused or kept as it is."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from harness import attempt, command, posix

import helicon.commands.generate
from helicon.formats.folder_lock import NAME, FolderLock

sys.path.insert(0, str(Path(__file__).parents[1] / "commands"))
from tiny_bundles import text_bundle

import helicon
from helicon.bundle.storage import save_bundle
from helicon.cli import main

pytestmark = posix


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> str:
    folder = tmp_path_factory.mktemp("models") / "text"
    save_bundle(text_bundle(), folder)
    assert generate_here(str(folder), folder.parent / "out") == 0  # what takes time once is in every fork then
    return str(folder)


def generate_here(bundle: str, out: Path) -> int:
    return main(["generate", bundle, "--tokens", "4", "--device", "cpu", "-o", str(out)])


def generate(bundle: str, out: Path, *args: str):
    return command(["generate", bundle, "--tokens", "4", "--device", "cpu", "-o", str(out), *args])


def test_a_folder_that_another_command_writes_to_is_refused(bundle, tmp_path, tmp_path_factory):
    printed = tmp_path_factory.mktemp("printed") / "tokens"
    lock = FolderLock(tmp_path)
    lock.acquire()
    try:
        generate(bundle, tmp_path).is_refusal(tmp_path, "another helicon")
        command(["import", bundle, "-o", str(tmp_path)]).is_refusal(tmp_path, "another helicon")
        printed.write_text("the the")
        command(["detokenize", str(printed), "-o", str(tmp_path / "a.mid")]).is_refusal(tmp_path, "another helicon")
        attempt(helicon.save, [], tmp_path).is_refusal(tmp_path, "another process or thread is writing")
        assert [path.name for path in tmp_path.iterdir()] == [NAME]
    finally:
        lock.release()
    assert generate(bundle, tmp_path).value == "0"


def test_the_lock_of_a_killed_command_holds_nobody_up(bundle, tmp_path):
    child = os.fork()
    if not child:
        lock = FolderLock(tmp_path)
        lock.acquire()
        (tmp_path / "held").touch()
        time.sleep(60)
        os._exit(0)
    while not (tmp_path / "held").exists():
        time.sleep(0.01)
    generate(bundle, tmp_path).is_refusal("another helicon")
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert (tmp_path / NAME).exists()
    assert generate(bundle, tmp_path).value == "0"
    assert not (tmp_path / NAME).exists()


def test_links_in_the_folder_are_replaced_rather_than_written_through(bundle, tmp_path):
    mine, out = tmp_path / "mine", tmp_path / "out"
    out.mkdir()
    mine.write_text("mine")
    for name in ("000.txt", "000.json", "001.txt", "001.json", "index.html"):
        (out / name).symlink_to(mine)
    assert generate(bundle, out, "-n", "2").value == "0"
    assert mine.read_text() == "mine"
    assert not any(path.is_symlink() for path in out.iterdir())


def test_a_lock_that_is_a_link_is_refused(bundle, tmp_path):
    mine, out = tmp_path / "mine", tmp_path / "out"
    out.mkdir()
    mine.write_text("mine")
    (out / NAME).symlink_to(mine)
    generate(bundle, out).is_refusal(NAME)
    assert mine.read_text() == "mine"


def test_a_file_or_a_link_to_nowhere_is_no_folder(bundle, tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere" / "else")
    generate(bundle, tmp_path / "file").is_refusal(tmp_path / "file", "a folder is needed")
    generate(bundle, tmp_path / "link").is_refusal(tmp_path / "link")
    assert (tmp_path / "file").read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()


def test_a_refused_request_leaves_no_folder(bundle, tmp_path):
    generate(bundle, tmp_path / "new" / "out", "--nonsense", "x").is_refusal("nonsense")
    assert list(tmp_path.iterdir()) == []


def test_older_results_are_named_and_stay_out_of_the_page(bundle, tmp_path):
    assert "earlier" not in generate(bundle, tmp_path, "-n", "3").err
    ended = generate(bundle, tmp_path, "-n", "1", "--seed", "5")
    assert "older      4 files of an earlier command are left" in ended.err
    assert "001.json, 001.txt" in ended.err
    page = (tmp_path / "index.html").read_text()
    assert "000.txt" in page
    assert "001.txt" not in page
    assert json.loads((tmp_path / "000.json").read_text())["seed"] == 5


@pytest.mark.parametrize("text", ["\U0001f600 ode", "\u202egpj.exe", "\u05d0\u05d1", "../../x", "/dev/zero", "a\tb"])
def test_any_text_is_kept_as_it_is_and_in_no_file_name(bundle, tmp_path, text):
    ended = generate(bundle, tmp_path / "out", "--text", text, "--tokens", "1")
    ended.is_cheap()
    assert ended.value == "0", ended
    made = json.loads((tmp_path / "out" / "000.json").read_text(encoding="utf-8"))
    assert made["settings"]["given"] == {"text": text}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"000.txt", "000.json", "index.html"}
    assert ended.err.replace("\n", "").isprintable()


def test_text_that_is_no_unicode_is_refused(bundle, tmp_path):
    generate(bundle, tmp_path / "out", "--text", "a\udcff").is_refusal("text")
    assert not (tmp_path / "out").exists()


WRONG = {
    "--tokens": ("0", "-3", "1e18", "nan", "9" * 30),
    "--seconds": ("nan", "inf", "-1", "0", "1e18"),
    "-n": ("0", "-1", "1e18", "9" * 30),
    "--seed": ("nan", "1e18", "-1", "9" * 400),
    "--temperature": ("nan", "inf", "-1"),
    "--top-k": ("0", "-5", "nan"),
    "--top-p": ("0", "nan", "2", "-1"),
    "--min-p": ("nan", "-1", "inf"),
    "--guidance": ("nan", "inf", "-2"),
    "--repetition-penalty": ("0", "nan", "-1", "inf"),
    "--overlap": ("nan", "0", "1", "-inf"),
    "--best-of": ("0", "-1", "9" * 30),
}


def test_numbers_out_of_range_are_refused_by_name(bundle, tmp_path):
    asked = [(option, value) for option, values in WRONG.items() for value in values]

    def run() -> list[int]:
        return [main(["generate", bundle, "-o", str(tmp_path / "out"), *words]) for words in asked]

    ended = attempt(run)
    assert set(json.loads(ended.value)) <= {1, 2}, ended
    lines = ended.err.splitlines()
    assert len(lines) == len(asked)
    for (option, value), line in zip(asked, lines):
        name = option.strip("-")
        assert name in line or name.replace("-", "_") in line, (option, value, line)
        assert len(line) < 400
    assert not (tmp_path / "out").exists()
