"""`eval`, `info` and `doctor`, on models that know nothing and so have figures that can be worked out by hand."""

from __future__ import annotations

import gzip
import json
from math import log
from pathlib import Path

import pytest
from tiny_bundles import music_bundle, text_bundle, tune, uniform, write_folder

from helicon.bundle.storage import save_bundle
from helicon.cli import main
from helicon.commands.doctor import Finding, examine, unwritable
from helicon.commands.info import MAX_LISTED, _text
from helicon.evaluation.losses import open_folder
from helicon.formats.weights import hash_weights
from helicon.objectives.classify import Classify


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HELICON_CACHE", str(tmp_path / "cache"))


def report_of(capsys: pytest.CaptureFixture[str], *args: str) -> dict:
    """What a command prints as JSON, which must be all that it prints."""
    capsys.readouterr()
    assert main([*args, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_uniform_text_model_costs_log_257_nats_a_byte_and_a_stop(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_bundle(uniform(text_bundle(context=16)), tmp_path / "model")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("Où est le mont Hélicon ? En Béotie.", encoding="utf-8")  # 35 characters
    (tmp_path / "data" / "b.txt").write_text("short", encoding="utf-8")
    (tmp_path / "data" / "c.txt").write_bytes(b"\xff\0 no text")

    report = report_of(capsys, "eval", str(tmp_path / "model"), "--data.path", str(tmp_path / "data"))

    found = report["layouts"]["text"]
    assert found["units"] == {"byte": 38 + 5, "character": 35 + 5}
    assert found["tokens"] == 38 + 5 + 2  # each byte once, however many windows it is in, and a stop for each file
    assert found["nats"] == pytest.approx(45 * log(257), rel=1e-5)
    assert found["nats_per_token"] == pytest.approx(log(257), rel=1e-5)
    assert found["bits_per_character"] == pytest.approx(45 * log(257) / log(2) / 40, rel=1e-5)
    assert report["files"] == 2
    reason = "no text: neither UTF-8 nor another encoding that can be estimated; --data.encoding names one"
    assert list(report["skipped"].values()) == [reason]
    assert main(["eval", str(tmp_path / "model"), "--data.path", str(tmp_path / "data")]) == 0
    assert f"c.txt: {reason}" in capsys.readouterr().out


def test_documents_between_marks_have_a_stop_each_and_a_line_of_tokens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_bundle(uniform(text_bundle(context=16)), tmp_path / "model")
    (tmp_path / "data").mkdir()
    file = tmp_path / "data" / "a.txt"
    file.write_bytes(b"ab\r\n<|endoftext|>\r\ncd<|endoftext|>e")
    report = report_of(capsys, "eval", str(tmp_path / "model"), "--data.path", str(tmp_path / "data"))
    assert report["layouts"]["text"]["tokens"] == 3 + 2 + 1 + 3  # bytes, and a stop for each document
    assert report["repaired"]["marks between documents"] == 2
    parted = report_of(
        capsys, "eval", str(tmp_path / "model"), "--data.path", str(tmp_path / "data"), "--data.separator", "d"
    )
    assert parted["layouts"]["text"]["tokens"] == 3 + 1 + 1 + 3
    assert main(["eval", str(tmp_path / "model"), "--data.path", str(tmp_path / "data"), "--data.encoding", "x"]) != 0
    assert "encoding 'x': auto, or one that Python has" in capsys.readouterr().err
    assert main(["tokenize", str(file), "--run", str(tmp_path / "model")]) == 0
    printed = capsys.readouterr()
    assert printed.out == "a b 0x0A\nc d\ne\n"
    assert "2 marks between documents" in printed.err


def test_uniform_music_model_by_note_and_second(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores = write_folder(tmp_path / "data")
    bundle = uniform(music_bundle(scores))
    save_bundle(bundle, tmp_path / "model")

    found = report_of(capsys, "eval", str(tmp_path / "model"), "--data.path", str(tmp_path / "data"))["layouts"]

    notes = sum(map(len, scores))
    found = found["style[3] music"]
    assert found["pieces"] == 16
    assert found["units"]["note"] == notes
    assert found["units"]["second"] == pytest.approx(sum(score.seconds for score in scores), abs=0.01 * notes)
    size = len(bundle.sequencer.tokenizers["music"].block) + 1
    assert found["nats_per_token"] == pytest.approx(log(size), rel=1e-5)
    assert found["nats_per_note"] == pytest.approx(found["nats"] / notes)
    tokens = sum(len(bundle.sequencer.tokenizers["music"].encode(score)) + 1 for score in scores)
    assert found["tokens"] == tokens


def test_held_out_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_bundle(music_bundle(write_folder(tmp_path / "data")), tmp_path / "model")
    args = ("eval", str(tmp_path / "model"), "--data.path", str(tmp_path / "data"))
    args = (*args, "--validation")
    assert report_of(capsys, *args, "--data.val_split", "0.1")["layouts"]["style[3] music"]["pieces"] < 16
    assert main([*args, "--data.val_split", "0.1"]) == 0
    assert "nats each" in capsys.readouterr().out
    assert main([*args]) != 0  # the model was not trained, and has no record
    assert "no file of " in capsys.readouterr().err


def test_the_share_that_is_held_out_may_be_another(tmp_path: Path) -> None:
    bundle = music_bundle(write_folder(tmp_path / "data"))
    counts = [
        sum(len(corpus.select(val=True)) for corpus in open_folder(bundle, tmp_path / "data", None, share)[0].corpora)
        for share in (0.0, 0.5, 1.0)
    ]
    assert 0 == counts[0] < counts[1] < counts[2] == 14  # one of each label is left to train on


def test_a_label_that_the_model_does_not_know_is_left_open(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores = write_folder(tmp_path / "known")
    save_bundle(music_bundle(scores), tmp_path / "model")
    (tmp_path / "known").rename(tmp_path / "data")
    (tmp_path / "data" / "high").rename(tmp_path / "data" / "unheard-of")
    found = report_of(capsys, "eval", str(tmp_path / "model"), "--data.path", str(tmp_path / "data"))
    assert found["layouts"]["style[3] music"]["pieces"] == 16


def test_controllability_of_a_model_that_knows_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_bundle(music_bundle(write_folder(tmp_path / "data")), tmp_path / "model")
    folders = [str(tmp_path / "model"), "--data.path", str(tmp_path / "data")]
    args = ["eval", *folders, "--controllability", "2", "--seconds", "6"]

    found = report_of(capsys, *args)["controllability"]

    assert found["pieces"] == 8  # 2 labels, 2 by name, 2 by header
    assert found["instruments"]["pieces_without_others"] == 1.0  # by grammar, whatever the weights
    assert found["instruments"]["notes"] > 0
    assert found["tempo"]["written_largest_error"] < 0.001
    assert found["tempo"]["real"] == {
        "pieces": 16,
        "median_error": pytest.approx(0, abs=0.005),
        "within_3_percent": 1.0,
    }
    assert found["label"]["chance"] == 0.5
    assert found["label"]["real_accuracy"] == 1.0
    assert found["label"]["labels"]["low"]["real_pieces"] == 8
    assert main(args) == 0
    assert "no sound outside the set asked" in capsys.readouterr().out


def test_controllability_of_what_cannot_obey_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_bundle(text_bundle(), tmp_path / "text")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("a")
    assert main(["eval", str(tmp_path / "text"), "--data.path", str(tmp_path / "data"), "--controllability", "1"]) == 1
    assert "no layout of this model makes music in a style; it has: text" in capsys.readouterr().err

    save_bundle(music_bundle(write_folder(tmp_path / "few", 2)), tmp_path / "few-model")
    assert (
        main(["eval", str(tmp_path / "few-model"), "--data.path", str(tmp_path / "few"), "--controllability", "1"]) == 1
    )
    assert "no label with 8 pieces or more" in capsys.readouterr().err


def test_a_folder_without_files_names_the_suffixes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_bundle(text_bundle(), tmp_path / "model")
    (tmp_path / "data").mkdir()
    assert main(["eval", str(tmp_path / "model"), "--data.path", str(tmp_path / "data")]) == 1
    assert "accepted suffixes are text: .md .txt" in capsys.readouterr().err


def test_info_of_a_music_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = music_bundle([tune([60, 64], label="bach"), tune([60], program=40, label="haydn")])
    save_bundle(bundle, tmp_path / "model")

    report = report_of(capsys, "info", str(tmp_path))

    assert report["bundle"] == str(tmp_path / "model")
    assert report["hash"] == bundle.hash()
    assert report["notes"] == {"step": 7}
    assert report["layouts"] == ["style[3] music"]
    # Width 16: attention 3 * 272 + 272, feed-forward 64 * 17 + 16 * 65, three norms of 32
    assert report["parameters_without_embeddings"] == 4 * 272 + 64 * 17 + 16 * 65 + 3 * 32
    assert report["parameters"] == sum(p.numel() for p in bundle.gpt.parameters())
    assert report["blocks"]["task"] == 1
    assert sum(report["blocks"].values()) + len(report["blocks"]) == report["vocabulary"]["size"]
    assert report["tokenizers"]["music"]["instruments"] == {"piano": [72, 80, 88], "strings": [72, 80, 88]}
    assert report["tokenizers"]["style"]["labels"] == ["bach", "haydn"]

    assert main(["info", str(tmp_path / "model")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  labels          bach, haydn (2)" in lines
    assert max(map(len, lines)) <= 110


def test_info_of_what_a_model_has_learned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain, bundle = text_bundle(), text_bundle()
    bundle.objective, bundle.labels = Classify(), ("a", "b")
    save_bundle(bundle, tmp_path)

    report = report_of(capsys, "info", str(tmp_path))

    options = {"auxiliary": 0.5, "head_dropout": 0.1, "slot_weights": None}
    assert report["objective"] == {"name": "classify", "options": options, "parameters": 16 * 2 + 2}
    assert (report["labels"], report["hash"]) == (["a", "b"], bundle.hash())
    assert main(["info", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "objective         classify; auxiliary 0.5, head_dropout 0.1; 34 parameters beside the GPT" in lines
    assert "labels            a, b (2)" in lines
    bundle.network.head.bias.data.add_(1)
    assert bundle.hash() != report["hash"]
    assert plain.hash() == hash_weights(plain.gpt.state_dict())
    save_bundle(plain, tmp_path / "plain")
    assert report_of(capsys, "info", str(tmp_path / "plain"))["objective"]["name"] == "gpt"


@pytest.mark.parametrize("note", ["x" * 5_000, "x " * 5_000, "x, " * 5_000])
def test_a_long_note_is_cut(note: str) -> None:
    assert len(_text({"run": note})) <= MAX_LISTED + len(", ...")


def test_info_of_what_is_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(tmp_path / "nothing")]) == 1
    assert "no such run or bundle" in capsys.readouterr().err


def test_doctor_names_versions_devices_and_folders(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["doctor", "--json"]) == 0
    names = [finding["name"] for finding in json.loads(capsys.readouterr().out)]
    assert {"python", "torch", "pytorch-lightning", "cpu", "token cache", "runs", "c compiler"} <= set(names)
    assert main(["doctor"]) == 0
    assert str(tmp_path / "cache") in capsys.readouterr().out


def test_doctor_says_what_would_help(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    monkeypatch.setattr("helicon.commands.doctor.OPTIONAL", {"no-such-package": "nothing needs it"})
    (tmp_path / "file").write_text("")
    findings = {finding.name: finding for finding in examine(tmp_path / "file" / "runs")}
    assert findings["c compiler"].result == "none"
    assert "gcc" in findings["c compiler"].fix
    hint = "optional: pip install no-such-package (nothing needs it)"
    assert findings["no-such-package"] == Finding("no-such-package", "not installed", hint)
    assert "cannot be written to" in findings["runs"].result
    assert findings["runs"].fix
    assert unwritable(tmp_path / "new" / "deeper") == ""
    assert not (tmp_path / "new").exists()


def test_primes_and_printed_tokens_of_gzip_and_of_files_that_are_not_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = write_folder(tmp_path / "data")
    save_bundle(uniform(music_bundle(scores)), tmp_path / "model")
    first, *_ = sorted((tmp_path / "data").rglob("*.mid"))
    packed = tmp_path / "a.mid.gz"
    packed.write_bytes(gzip.compress(first.read_bytes()))
    packed.write_bytes(packed.read_bytes()[:-4])  # the end of its check sum
    model = str(tmp_path / "model")
    assert main(["tokenize", str(packed), "--run", model]) == 0
    assert main(["generate", model, "--prime", str(packed), "--tokens", "2", "-o", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().err.count("1 gzip files cut off (read up to there)") == 2
    (tmp_path / "a.abc").write_text("X:1")
    assert main(["tokenize", str(tmp_path / "a.abc"), "--run", model]) == 1
    assert main(["generate", model, "--prime", str(tmp_path / "a.abc"), "-o", str(tmp_path / "out")]) != 0
    assert capsys.readouterr().err.count("files; export as .mid") == 2
