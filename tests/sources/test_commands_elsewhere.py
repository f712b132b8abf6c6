"""Commands and library functions on files that are elsewhere, and on media in memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from file_server import Server

import helicon
from helicon.cli import main
from helicon.data.entries import Origin
from helicon.data.prepare import prepare
from helicon.data.source import DataSource
from helicon.training.errors import TrainingError
from helicon.training.resuming import resumed_config

TINY = ["--model.layers=1", "--model.width=16", "--model.heads=2", "--model.context=32", "--data.batch_size=2"]
SMALL = [*TINY, "--data.tokenizers={text: bytes}", "--trainer.accelerator=cpu", "--samples=false"]


@pytest.fixture
def books(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of a folder that lists ten texts; the cache is a folder of the test."""
    monkeypatch.setenv("HELICON_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    texts = {f"/books/{i}.txt": f"{i} once upon a time ".encode() * 40 for i in range(10)}
    server.files |= texts
    server.pages["/books/"] = "".join(f'<a href="{name.rpartition("/")[2]}">x</a>' for name in texts)
    return f"{server.url}/books/"


def test_a_folder_elsewhere_is_trained_on_resumed_and_measured(books, server, tmp_path, capsys):
    words = ["fit", "--config", "text", "--data.path", books, *SMALL, "--trainer.max_steps=2", "--name=run"]
    assert main(words) == 0
    report = capsys.readouterr().err
    assert f"source     {books}: 10 files" in report
    assert server.asked["/books/3.txt"] == 1
    assert main(["train", "--resume", "runs/run", "--trainer.max_steps=3"]) == 0
    assert main(["eval", "runs/run", "--data.path", books, "--validation", "--device=cpu"]) == 0
    assert server.asked["/books/3.txt"] == 1  # it is in the cache


def test_a_run_of_a_stranger_connects_to_no_server(books, server, tmp_path):
    assert main(["fit", "--config", "text", "--data.path", books, *SMALL, "--trainer.max_steps=1", "--name=run"]) == 0
    config = tmp_path / "runs" / "run" / "config.yaml"
    config.write_text(config.read_text().replace(books, f"{server.url}/others/"))
    with pytest.raises(TrainingError, match=r"/others/ is elsewhere, and not in the cache; type --data\.path with it"):
        resumed_config(tmp_path / "runs" / "run")
    assert server.asked["/others/"] == 0


def test_one_of_several_sources_may_be_elsewhere(books, tmp_path):
    (tmp_path / "code").mkdir()
    for i in range(10):
        (tmp_path / "code" / f"{i}.txt").write_text(f"{i} of mine " * 40)
    origins = (Origin(name="books", path=books), Origin(name="code", path=tmp_path / "code"))
    source = DataSource(path=books, layouts=("text",), tokenizers={"text": "bytes"}, origins=origins)
    prepared = prepare(source)
    (corpus,) = prepared.corpora
    assert [{corpus.names[n][0] for n in corpus.of_origin(i).nonzero()[0]} for i in (0, 1)] == [set("0123456789")] * 2
    assert any(line.startswith(f"source     {books}") for line in prepared.notes)


def test_a_place_that_is_not_there_is_one_line(books, server, capsys):
    for place, message in (
        (f"{server.url}/nothing/", "not found"),
        ("nowhere://x/y.tar", "no place that can be read; accepted are"),
    ):
        assert main(["train", "text", place, "--steps=1"]) == 1
        assert message in capsys.readouterr().err.splitlines()[-1]
    assert not Path("runs").exists()


def test_shards_elsewhere_are_streamed(books, server, tmp_path, capsys):
    import io
    import tarfile

    for number in range(2):
        with io.BytesIO() as file:
            with tarfile.open(fileobj=file, mode="w") as tar:
                for i in range(10):
                    content = f"shard {number} text {i} ".encode() * 40
                    member = tarfile.TarInfo(f"{i}.txt")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
            server.files[f"/s-{number}.tar"] = file.getvalue()
    words = ["--data.path", f"{server.url}/s-{{0..1}}.tar", "--data.stream=true", "--trainer.max_steps=2"]
    assert main(["fit", "--config", "text", *words, *SMALL, "--name=run"]) == 0
    assert not list((tmp_path / "cache").rglob("*.tar"))  # none is kept


@pytest.mark.parametrize("media", [["once upon a time " * 20] * 8, ({"text": f"{i} " * 200} for i in range(8))])
def test_media_in_memory_are_trained_on(books, tmp_path, media):
    options = [*SMALL, "--data.val_split=0.2"]
    run = helicon.train(media, "text", steps=1, runs=tmp_path / "runs", options=options)
    assert (run / "model").is_dir()
    assert helicon.evaluate(run, ["once upon a time " * 20], device="cpu").losses[0].pieces == 1
