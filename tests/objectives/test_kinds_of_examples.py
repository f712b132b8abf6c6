"""Pairs of a manifest and rollouts of the model itself, as objectives of somebody's own learn from them."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from commands.tiny_bundles import bundle_of, music_bundle, text_bundle, tune
from torch import Tensor

from helicon.bundle.storage import load_bundle, save_bundle
from helicon.cli import main
from helicon.data.batches import TrainBatches, val_windows
from helicon.data.collate import collate
from helicon.data.entries import DataError
from helicon.data.files import scan
from helicon.data.labelled import labels_of
from helicon.data.pairs import PairStream
from helicon.data.prepare import prepare
from helicon.data.source import DataSource
from helicon.gpt.sampler import sample
from helicon.modalities.text import TEXT
from helicon.objectives.base import Network, Rewarded
from helicon.plugins import loading
from helicon.sequence.layout import Layout
from helicon.tokenizers.palette import PaletteTokenizer
from helicon.tokenizers.sequencer import NO_TARGET
from helicon.tokenizers.text import BytesTokenizer
from helicon.training.rollouts import roll_out
from helicon.training.settings.idle_options import idle_option

KINDS = str(Path(__file__).parent / "kinds.py")
FAST = [
    "--plugin", KINDS, "--data.batch_size=4", "--trainer.accelerator=cpu", "--trainer.log_every_n_steps=1",
    "--samples=false", "--model.dropout=0", "--model.warmup=0", "--model.lr=0.02",
]  # fmt: skip
pytestmark = pytest.mark.usefixtures("nothing_loaded")
PROMPTS = [f"prompt {i}" for i in range(12)]


@pytest.fixture
def rated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Texts of a's, each of which was preferred to one of b's; a manifest of them, and a model that knows neither."""
    monkeypatch.chdir(tmp_path)
    rows = []
    for i, prompt in enumerate(PROMPTS):
        for side in "ab":
            path = tmp_path / "texts" / f"{side}{i}.txt"
            path.parent.mkdir(exist_ok=True)
            path.write_text(side * (3 + i % 4))
        rows.append({"prompt": prompt, "chosen": f"a{i}.txt", "rejected": f"b{i}.txt"})
    Path("pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    save_bundle(text_bundle(), tmp_path / "base")
    return tmp_path / "texts"


def prepared(folder: Path, manifest: Path, val_split: float = 0.0, **more: object):
    source = DataSource(
        path=folder, layouts=("text",), tokenizers={"text": "bytes"}, manifest=manifest, val_split=val_split,
        cache=folder.parent / "cache", **more,
    )  # fmt: skip
    return prepare(source)


def column(run: str, name: str) -> list[float]:
    with open(Path("runs") / run / "metrics.csv") as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


def test_log_probabilities_are_those_of_each_token_alone():
    bundle = text_bundle()
    (layout,) = bundle.schema.layouts
    ids = [np.frombuffer(text.encode(), np.uint8).astype(np.int64) for text in ("hello", "x")]
    packed = [bundle.sequencer.pack(layout, {"text": each}) for each in ids]
    found = Network(bundle).log_probabilities(collate(0, packed))
    for row, piece in zip(found, packed):
        hidden = bundle.gpt(torch.from_numpy(piece.ids)[None], torch.from_numpy(piece.coord_ids)[None], layout.frame)[0]
        each = bundle.gpt.logits(hidden, bundle.schema.vocab_slice(layout.target)).log_softmax(1)
        targets = torch.from_numpy(piece.targets) - bundle.schema.vocab_slice(layout.target).start
        expected = each[torch.arange(len(targets)), targets]
        assert torch.allclose(row[: len(targets)], expected, atol=1e-5)
        assert not row[len(targets) :].any()


def test_a_manifest_of_pairs(rated, tmp_path):
    """Both sides with their prompt; lines that name no two files are passed over."""
    lines = [{"chosen": "a0.txt"}, {"chosen": "a1.txt", "rejected": "a1.txt"}, {"chosen": "a2.txt", "rejected": 5}]
    lines += [{"chosen": "a0.txt", "rejected": name, "prompt": "p"} for name in ("b0.txt", "b1.txt")]
    Path("odd.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = scan(rated, [TEXT], Path("odd.jsonl"))
    assert sorted((entry.name, *(entry.side or ()), entry.texts) for entry in found.entries) == [
        ("a0.txt", "a0.txt > b0.txt", True, ("p",)), ("a0.txt", "a0.txt > b1.txt", True, ("p",)),
        ("b0.txt", "a0.txt > b0.txt", False, ("p",)), ("b1.txt", "a0.txt > b1.txt", False, ("p",)),
    ]  # fmt: skip
    assert [reason for _, reason in sorted(found.skipped.items())] == [
        "chosen and rejected are not both named", "chosen and rejected are the same file",
        "chosen and rejected are not both named",
    ]  # fmt: skip
    Path("pairs.csv").write_text("chosen,rejected\na0.txt,b0.txt\n")
    assert len(scan(rated, [TEXT], Path("pairs.csv")).entries) == 2
    Path("pairs.csv").write_text("prompt,chosen,rejected\np,a0.txt\np,a0.txt,b0.txt\n")
    found = scan(rated, [TEXT], Path("pairs.csv"))
    assert (len(found.entries), list(found.skipped.values())) == (2, ["chosen and rejected are not both named"])


@pytest.mark.parametrize("column", ["chosen", "rejected"])
def test_one_column_of_a_pair_beside_files_says_nothing_of_pairs(rated, column):
    Path("m.csv").write_text(f"file,{column}\na0.txt,yes\nb0.txt,\n")
    Path("m.jsonl").write_text(json.dumps({"file": "a0.txt", column: True}) + "\n")
    assert [entry.side for entry in scan(rated, [TEXT], Path("m.csv")).entries] == [None, None]
    assert [entry.side for entry in scan(rated, [TEXT], Path("m.jsonl")).entries] == [None]
    with pytest.raises(
        DataError, match=r"^m\.csv: no pairs; --data\.manifest with a CSV or JSONL file with columns chosen"
    ):
        prepared(rated, Path("m.csv"), examples="pairs")
    Path("m.csv").write_text(f"{column},prompt\na0.txt,p\n")
    with pytest.raises(
        DataError, match=rf"^m\.csv: no column `file`, nor `chosen` and `rejected` of pairs; .*: {column}"
    ):
        prepared(rated, Path("m.csv"), examples="pairs")


def test_pairs_come_whole_and_all_of_a_prompt_is_on_one_side(rated):
    (rated / "b0.txt").write_bytes(b"\x81\x00\x8d")  # cannot be read: its pair is left out
    with open("pairs.jsonl", "a") as file:
        more = {"prompt": PROMPTS[3], "chosen": "a1.txt", "rejected": "b2.txt"}
        file.write(json.dumps(more) + "\n")
    (corpus,) = prepared(rated, Path("pairs.jsonl"), 0.4, examples="pairs").corpora
    names = [[corpus.names[side] for side in pair] for pair in corpus.pairs]
    assert sorted(names) == sorted([[f"a{i}.txt", f"b{i}.txt"] for i in range(1, 12)] + [["a1.txt", "b2.txt"]])
    sides = corpus.val[corpus.pairs]
    assert (sides[:, 0] == sides[:, 1]).all()
    assert 0 < sides[:, 0].sum() < len(sides)
    held = dict(zip(map(tuple, names), sides[:, 0]))
    assert held["a1.txt", "b2.txt"] == held["a3.txt", "b3.txt"]
    assert len(corpus.select_pairs(True)) + len(corpus.select_pairs(False)) == len(corpus.pairs)


def test_pairs_that_share_a_file_are_on_one_side(tmp_path):
    """Each file is in two pairs, in a chain: nothing can be held out but all of it, so nothing is."""
    for i in range(40):
        (tmp_path / f"{i}.txt").write_text(f"text {i}")
    manifest = tmp_path / "pairs.csv"
    manifest.write_text("chosen,rejected\n" + "".join(f"{i}.txt,{i + 1}.txt\n" for i in range(39)))
    (corpus,) = prepared(tmp_path, manifest, 0.3, examples="pairs").corpora
    assert not corpus.val.any()
    manifest.write_text("chosen,rejected\n" + "".join(f"{i}.txt,{(i + 4) % 40}.txt\n" for i in range(40)))
    (corpus,) = prepared(tmp_path, manifest, 0.3, examples="pairs").corpora
    sides = {(int(corpus.names[i].removesuffix(".txt")) % 4, bool(corpus.val[i])) for i in range(len(corpus.names))}
    assert {rest for rest, _ in sides} == {0, 1, 2, 3}
    assert len(sides) == 4  # four rings of ten files, each on one side
    assert {held for _, held in sides} == {True, False}


@pytest.mark.parametrize("world", [1, 2])
def test_a_batch_has_the_chosen_ones_first(rated, world):
    """All pairs come, whatever number of processes share a batch."""
    (corpus,) = prepared(rated, Path("pairs.jsonl"), examples="pairs").corpora
    sequencer = text_bundle().sequencer
    seen = []
    for rank in range(world):
        stream = PairStream(corpus, sequencer, sequencer.schema.layouts[0], 0, 4)
        batches = TrainBatches([stream], 0, rank, world)
        for t in range(4 * batches.epoch):
            batch = batches.batch(t)
            chosen, rejected = (half.tolist() for half in batch.examples.chunk(2))
            assert all(corpus.names[i][0] == "a" for i in chosen)
            assert [corpus.names[i][1:] for i in chosen] == [corpus.names[i][1:] for i in rejected]
            assert batch.sequences == 8 // world
            seen += chosen
    assert {*seen} == {*corpus.pairs[:, 0].tolist()}
    assert not list(val_windows(corpus, sequencer, sequencer.schema.layouts[0], "pairs"))


def test_preferences_are_learned_and_measured(rated, capsys):
    """Direct preference optimisation: begins at ln 2, as the reference is what it began from; all come out right."""
    words = ["train", "prefer", "texts", "--from", "base", "--data.manifest=pairs.jsonl", "--data.val_split=0.3"]
    assert main([*words, "--name", "liked", "--trainer.max_steps=12", *FAST]) == 0, capsys.readouterr().err
    losses = column("liked", "train/preference")
    assert losses[0] == pytest.approx(math.log(2), abs=1e-6)
    assert losses[-1] < 0.6
    assert column("liked", "val/right")[-1] == 1
    assert main(["train", "--resume", "runs/liked", "--trainer.max_steps=14", "--plugin", KINDS]) == 0
    assert len(column("liked", "train/preference")) == 14
    capsys.readouterr()
    pairs = ["--data.manifest", "pairs.jsonl", "--plugin", KINDS]
    for more in (pairs, ["--plugin", KINDS]):
        assert main(["eval", "runs/liked", "--data.path", "texts", *more]) == 0
        assert "24 pieces" in capsys.readouterr().out


def test_what_is_rewarded_is_made_more_often(rated, capsys):
    """Policy gradient: nothing has drifted at first, and a's become more frequent than by chance; all is repeatable."""
    words = ["train", "please", "texts", "--from", "base", "--model.samples=8", "--model.sample_tokens=6", *FAST]
    for name in ("once", "again"):
        assert main([*words, "--name", name, "--trainer.max_steps=25"]) == 0, capsys.readouterr().err
    rewards, drift = column("once", "train/reward"), column("once", "train/kl")
    assert rewards == column("again", "train/reward")
    assert abs(drift[0]) < 1e-4 < drift[-1]
    assert np.mean(rewards[-5:]) > 5 * max(np.mean(rewards[:5]), 1 / 256)
    bundle = load_bundle(Path("runs/once"))
    assert bundle.objective.examples == "rollouts"


def test_rollouts_are_scored_as_they_were_drawn(rated):
    """log p of each token that was drawn, none of what was not; the same pieces whatever else is in the batch."""
    loading.load_plugins([KINDS])
    from helicon.objectives.registry import OBJECTIVES

    bundle = text_bundle()
    bundle.objective = OBJECTIVES.get("please")(samples=3, sample_tokens=5)
    (corpus,) = corpora = prepared(rated, None).corpora
    (layout,) = bundle.schema.layouts
    packed = [bundle.sequencer.pack(layout, corpus.example(i)) for i in (4, 2)]
    found = roll_out(bundle, corpora, collate(0, packed, [4, 2]), 7)
    alone = roll_out(bundle, corpora, collate(0, packed[1:], [2]), 7)
    assert len(found.pieces.ids) == 6
    assert torch.equal(found.rewards[3:], alone.rewards)
    width = alone.pieces.ids.shape[1]
    assert torch.equal(found.pieces.ids[3:, :width], alone.pieces.ids)
    assert torch.allclose(found.old, found.reference)
    assert ((found.old < 0) == (found.pieces.targets != NO_TARGET)).all()
    assert not found.old.requires_grad
    cut = found.pieces.lengths == 6  # the task's token and five that were drawn
    assert cut.any()
    last = found.pieces.targets[torch.arange(6), found.pieces.lengths - 1]
    stop = bundle.schema.vocabulary.eos("text")
    assert ((last == NO_TARGET) == cut).all()
    assert (last[~cut] == stop).all()


GREYS = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)


@pytest.mark.parametrize("spec", ["text", "text[6]", "style[3] music", "text[3] image[3x3]"])
@pytest.mark.parametrize("most", [None, 5])
def test_log_probabilities_are_of_the_tokens_as_the_engine_drew_them(spec, most, monkeypatch):
    """Of every layout and grammar, whether the end is drawn, forced or cut; told from the draws themselves."""
    loading.load_plugins([KINDS])
    from helicon.objectives.registry import OBJECTIVES

    if spec.endswith("music"):
        bundle = music_bundle([tune([60, 64, 67]), tune([50, 52], program=73, label="low")], 16)
    else:
        tokenizers = {"text": BytesTokenizer(), "image": PaletteTokenizer(GREYS, 3)}
        bundle = bundle_of([spec], {slot: tokenizers[slot] for slot in Layout.parse(spec).all_slots}, 16)
    bundle.objective, drawn = OBJECTIVES.get("lengthy")(samples=1, sample_tokens=most), []

    def noting(logits_BV: Tensor, allowed_BV: Tensor | None, *others: Any) -> Tensor:
        ids_B = sample(logits_BV, allowed_BV, *others)
        logits = logits_BV if allowed_BV is None else logits_BV.masked_fill(~allowed_BV, -torch.inf)
        drawn.append(float(logits.double().log_softmax(1)[0, ids_B]))
        return ids_B

    monkeypatch.setattr("helicon.generation.lane.sample", noting)
    corpus: Any = SimpleNamespace(example=lambda number: {})
    batch = collate(0, [bundle.sequencer.pack(bundle.schema.layouts[0], {bundle.schema.layouts[0].target.name: ()})])
    for seed in range(6):
        drawn.clear()
        found = roll_out(bundle, [corpus], batch, seed)
        learned = found.pieces.targets[0, bundle.schema.layouts[0].prefix - 1 :] != NO_TARGET
        old = found.old[0, bundle.schema.layouts[0].prefix - 1 :]
        assert old[learned].tolist() == pytest.approx(drawn, abs=1e-4)
        assert not old[~learned].any()
        assert torch.equal(found.old, found.reference)
        assert len(drawn) == (most or 9) if spec.endswith("]") and "image" in spec else len(drawn) <= (most or 16)


def test_what_cannot_be_made_is_said_before_it_is_tried():
    class Lengthy(Rewarded):
        rewards = loss = metrics = val_loss = None  # type: ignore[assignment]

    bundle = text_bundle()
    assert Lengthy(sample_tokens=16).build(bundle)
    with pytest.raises(ValueError, match=r"--model\.sample_tokens 17: 1 to 16 are accepted"):
        Lengthy(sample_tokens=17).build(bundle)


def test_what_is_no_reward_names_the_line(rated, capsys):
    mine = Path("mine.py")
    source = Path(KINDS).read_text().replace('"please"', '"mine"').replace('"prefer"', '"other"')
    for code, said in (
        ("return None", "rewards gives NoneType; 4 numbers are needed"),
        ("return [1.0]", "rewards gives [1]; 4 finite numbers are needed, one a piece"),
        ("return candidates.nothing", "AttributeError"),
    ):
        mine.write_text(source.replace('return [text.count("a")', f'{code}\n        return [text.count("a")'))
        words = ["train", "mine", "texts", "--from", "base", "--trainer.max_steps=1", "--plugin", "mine.py", *FAST[2:]]
        assert main(words) != 0
        last = capsys.readouterr().err.splitlines()[-1]
        assert "objective 'mine' (" in last, last
        assert "mine.py, line" in last, last
        assert said in last, last


def test_what_has_not_the_examples_it_needs_is_one_line(rated, capsys):
    for words, said in (
        (["train", "prefer", "texts", "--from", "base", *FAST], "texts: no pairs; --data.manifest with a CSV or JSONL"),
        (["eval", "base", "--data.path", "texts", "--data.manifest", "pairs.jsonl"], "pairs.jsonl: pairs, which an"),
        (
            ["train", "please", "texts", "--from", "base", "--data.condition_dropout=0.5", *FAST],
            "--data.condition_dropout would have no effect in fit: pieces are made under conditions as they are",
        ),
        (
            ["train", "please", "texts", "--from", "base", "--model.samples=0", *FAST],
            "--model.samples 0: a whole number from 1",
        ),
    ):
        assert main(words) != 0
        assert said in capsys.readouterr().err.splitlines()[-1], words


@pytest.mark.parametrize("option", ["augment", "changes", "condition_dropout", "plan"])
@pytest.mark.parametrize("task", ["prefer", "please"])
def test_how_examples_vary_is_refused_where_they_do_not(task, option):
    loading.load_plugins([KINDS])
    said = idle_option("fit", task, [(f"--data.{option}", "1")])
    assert said is not None
    assert said.startswith(f"--data.{option} would have no effect in fit: ")


def test_files_without_a_label_are_told_and_those_of_one_file_are_on_one_side(tmp_path):
    long = "\n\n".join(f"chapter {i} of what is told " * 80 for i in range(12))
    for label in "ab":
        for i in range(4):
            path = tmp_path / "books" / label / f"{i}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(long)
    (tmp_path / "books" / "loose.txt").write_text("nobody's")
    found = prepared(tmp_path / "books", None, 0.3, examples="labelled", labels=())
    (corpus,) = found.corpora
    assert found.skipped == {str(tmp_path / "books" / "loose.txt"): "no label"}
    assert labels_of([corpus], "books") == ("a", "b")
    assert len(corpus.files) > len({*corpus.files}) == 8  # several documents of each
    assert all(len({*corpus.val[corpus.files == file]}) == 1 for file in {*corpus.files})
    only = prepared(tmp_path / "books", None, 0.3, examples="labelled", labels=("a", "c"))
    assert set(only.corpora[0].labels) == {"a"}
    assert only.skipped[str(tmp_path / "books" / "b" / "0.txt")] == "label b, which the run has not"
    with pytest.raises(DataError, match="no labels that the run has; the run has c, d"):
        prepared(tmp_path / "books", None, 0.3, examples="labelled", labels=("c", "d"))
