"""GPT-1's classification: the loss against Hugging Face's double-heads arithmetic, blind windows, eval, classify."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from commands.tiny_bundles import music_bundle, text_bundle, write_folder

import helicon
from helicon.bundle.storage import BundleError, load_bundle, save_bundle
from helicon.cli import main
from helicon.data.batches import NO_VARIATION, WindowStream, scored_windows
from helicon.data.collate import collate
from helicon.data.corpus_writer import write_corpus
from helicon.data.entries import DataError
from helicon.data.labelled import label_numbers, labels_of
from helicon.data.prepare import prepare
from helicon.data.source import DataSource
from helicon.evaluation.measure import evaluate
from helicon.modalities.music import MUSIC
from helicon.objectives.base import NO_LABEL
from helicon.objectives.classify import Classifier, Classify, log_probabilities
from helicon.objectives.next_token import NextToken
from helicon.pages import model_page

FAST = [
    "--data.batch_size=4", "--trainer.accelerator=cpu", "--trainer.max_steps=2", "--trainer.log_every_n_steps=1",
    "--samples=false", "--model.dropout=0", "--model.head_dropout=0",
]  # fmt: skip


def corpus_of(folder: Path, texts: list[str], labels: list[str | None], held: list[bool] | None = None):
    """Texts as examples with labels; the sequencer of a tiny model of bytes."""
    held = held or [False] * len(texts)
    rows = [(f"{i}", labels[i], held[i], {"text": np.frombuffer(t.encode(), np.uint8)}) for i, t in enumerate(texts)]
    return write_corpus(folder, "text", rows, {"text": 256})


@pytest.fixture
def bundle():
    found = text_bundle(context=16)
    found.objective, found.labels = Classify(head_dropout=0.0), ("a", "b", "c")
    return found


def test_the_loss_is_that_of_the_paper(bundle, tmp_path):
    """L3 = L2 + .5 L1, as Hugging Face and OpenAI's own code add them up: each piece worked out alone."""
    network, sequencer = bundle.network.eval(), bundle.sequencer
    (layout,) = bundle.schema.layouts
    corpus = corpus_of(tmp_path, ["hello", "you there", "x"], ["b", "c", None])
    packed = [sequencer.pack(layout, corpus.example(i)) for i in range(3)]
    batch = collate(0, packed, range(3), label_numbers(corpus, bundle.labels))
    assert batch.labels.tolist() == [1, 2, NO_LABEL]
    loss, figures = bundle.objective.loss(network, batch)
    label_nats, language = [], 0.0
    for piece, label in zip(packed, batch.labels.tolist()):
        hidden = network.gpt(torch.from_numpy(piece.ids)[None], torch.from_numpy(piece.coord_ids)[None], layout.frame)[
            0
        ]
        logits = hidden @ network.gpt.head_weight[bundle.schema.vocab_slice(layout.target)].T
        targets = torch.from_numpy(piece.targets) - bundle.schema.vocab_slice(layout.target).start
        language += float(F.cross_entropy(logits, targets, reduction="sum"))
        if label != NO_LABEL:
            label_nats.append(float(F.cross_entropy(network.head(hidden[-1])[None], torch.tensor([label]))))
    room = sequencer.target_capacity(layout)
    assert float(loss) == pytest.approx(np.mean(label_nats) + 0.5 * language / room / 3, rel=1e-5)
    assert float(figures["label"].total) == pytest.approx(sum(label_nats), rel=1e-5)
    assert [figures[name].number for name in ("label", "accuracy")] == [2, 2]


def test_every_weight_learns_and_no_auxiliary_loss_leaves_the_label_alone(bundle, tmp_path):
    corpus = corpus_of(tmp_path, ["ab", "ba"], ["a", "b"])
    packed = [bundle.sequencer.pack(bundle.schema.layouts[0], corpus.example(i)) for i in range(2)]
    batch, network = collate(0, packed, range(2), label_numbers(corpus, bundle.labels)), bundle.network
    bundle.objective.loss(network, batch)[0].backward()
    assert all(p.grad is not None for p in network.parameters() if p.requires_grad)
    loss, figures = Classify(auxiliary=0.0, head_dropout=0.0).loss(network, batch)
    assert float(loss) == pytest.approx(float(figures["label"].total) / 2)


def test_the_head_sees_the_last_token_of_each_piece_whatever_lies_beside_it(bundle, tmp_path):
    corpus = corpus_of(tmp_path, ["abc", "a longer one"], [None, None])
    (layout,), network = bundle.schema.layouts, bundle.network.eval()
    packed = [bundle.sequencer.pack(layout, corpus.example(i)) for i in range(2)]
    assert isinstance(network, Classifier)
    with torch.no_grad():
        both = collate(0, packed)
        together = network.logits(both, network.hidden(both))
        alone = [network.logits(each, network.hidden(each)) for each in (collate(0, [p]) for p in packed)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)


def test_windows_tell_the_label_by_the_music_alone(tmp_path):
    """Two pieces that differ in their style alone are one and the same window, in training and when scored."""
    bundle = music_bundle(write_folder(tmp_path / "midi"))
    (layout,), tokenizers = bundle.schema.layouts, bundle.sequencer.tokenizers
    score = MUSIC.read(tmp_path / "midi" / "high" / "1.mid")[0]
    music = tokenizers["music"].encode(score)
    styles = [tokenizers["style"].encode(tokenizers["style"].parse(words)) for words in ("high", "low")]
    rows = [(str(i), label, False, {"style": styles[i], "music": music}) for i, label in enumerate(("high", "low"))]
    corpus = write_corpus(tmp_path / "corpus", "style[3] music", rows, {s: len(t.block) for s, t in tokenizers.items()})
    scored = [list(scored_windows(corpus, bundle.sequencer, layout, i, blind=True)) for i in range(2)]
    assert all(np.array_equal(a.ids, b.ids) and np.array_equal(a.coord_ids, b.coord_ids) for a, b in zip(*scored))
    told = [list(scored_windows(corpus, bundle.sequencer, layout, i)) for i in range(2)]
    assert not np.array_equal(told[0][0].ids, told[1][0].ids)
    numbers = label_numbers(corpus, ("high", "low"))
    stream = WindowStream(corpus, bundle.sequencer, layout, 0, 4, NO_VARIATION, numbers)
    fillers = {tuple(stream.window(n, w).ids[: layout.prefix]) for t in range(3) for n, w in stream.rows(t)}
    assert fillers == {tuple(scored[0][0].ids[: layout.prefix])}


def test_a_stream_of_labels_has_the_labelled_alone(tmp_path, bundle):
    corpus = corpus_of(tmp_path, ["aaa", "bbb", "ccc"], ["a", None, "c"])
    numbers = label_numbers(corpus, ("a", "c"))
    assert numbers.tolist() == [0, NO_LABEL, 1]
    stream = WindowStream(corpus, bundle.sequencer, bundle.schema.layouts[0], 0, 4, NO_VARIATION, numbers)
    assert {stream.example(w) for t in range(4) for _, w in stream.rows(t)} == {0, 2}


@pytest.mark.parametrize(
    ("labels", "held", "said"),
    [
        ([None, None], [False, False], "no labels; a folder for each label"),
        (["a", "a"], [False, True], "one label alone, a;"),
        (["a", "a", "b"], [False, True, False], "label b has one file"),
        (["a", "a", "b", "b"], [False, False, True, True], "all files of label b are for validation"),
    ],
)
def test_folders_that_cannot_be_told_apart(tmp_path, labels, held, said):
    corpus = corpus_of(tmp_path, ["x"] * len(labels), labels, held)
    with pytest.raises(DataError, match=said):
        labels_of([corpus], "midi")


def test_several_windows_of_a_piece_are_one_opinion(bundle, tmp_path):
    corpus = corpus_of(tmp_path, ["a text much longer than the context is"], ["a"])
    windows = list(scored_windows(corpus, bundle.sequencer, bundle.schema.layouts[0], 0, blind=True))
    assert len(windows) > 2
    batch = collate(0, windows, [0] * len(windows))
    network = bundle.network
    found = log_probabilities(network, [batch])
    with torch.no_grad():
        each = network.logits(batch, network.hidden(batch)).double().log_softmax(1)
    assert torch.allclose(found[0], each.mean(0).log_softmax(0))


def test_a_bundle_keeps_the_head_and_its_labels(bundle, tmp_path):
    with torch.no_grad():
        bundle.network.head.bias.copy_(torch.tensor([1.0, 2.0, 3.0]))
    save_bundle(bundle, tmp_path)
    read = load_bundle(tmp_path)
    assert (read.objective, read.labels) == (bundle.objective, bundle.labels)
    assert torch.equal(read.network.head.bias, bundle.network.head.bias)
    assert read.network.gpt is read.gpt
    config = json.loads((tmp_path / "bundle.json").read_text())
    for objective, said in (
        ({"name": "guess", "options": {}}, "guess"),
        ({"name": "classify", "options": {"auxiliary": 0.5}}, "options of the objective without"),
        ({"name": "classify", "options": {"auxiliary": "x", "head_dropout": 0.1, "slot_weights": None}}, "auxiliary"),
        ({"name": "classify", "options": {"auxiliary": 1, "head_dropout": 0, "slot_weights": {"a": "b"}}}, "slot_w"),
    ):
        (tmp_path / "bundle.json").write_text(json.dumps(config | {"objective": objective}))
        with pytest.raises(BundleError, match=said):
            load_bundle(tmp_path)
    (tmp_path / "bundle.json").write_text(json.dumps(config | {"labels": ["a", "b"]}))
    with pytest.raises(BundleError, match=r"head\.weight is"):
        load_bundle(tmp_path)


def test_trained_resumed_measured_and_asked(tmp_path, monkeypatch, capsys):
    """The whole way on music of two labels: fine-tuned from a run, eval's table, classify's lines, the library."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(model_page, "SECONDS", 1.0)
    monkeypatch.setattr(model_page, "ITEMS", 1)
    scores = write_folder(tmp_path / "midi")
    save_bundle(music_bundle(scores), tmp_path / "base")
    said = ["train", "classify", "midi", "--from", "base", "--name", "told", "--data.val_split=0.3", *FAST]
    assert main(said) == 0
    assert "next       helicon classify runs/told FILE..." in capsys.readouterr().err
    page = (tmp_path / "runs" / "told" / "index.html").read_text()
    assert "validation piece" in page
    assert main(["train", "--resume", "runs/told", "--trainer.max_steps=3"]) == 0
    run = load_bundle(tmp_path / "runs" / "told")
    assert run.labels == ("high", "low")
    capsys.readouterr()
    assert main(["eval", "runs/told", "--data.path", "midi", "--json"]) == 0
    (report,) = json.loads(capsys.readouterr().out)["objective"].values()
    assert report["pieces"] == len(scores)
    assert np.trace(report["confusion"]) == round(report["accuracy"] * len(scores))
    assert main(["eval", "runs/told", "--data.path", "midi"]) == 0
    printed = capsys.readouterr().out
    assert f" % of {len(scores)} pieces; the most frequent label alone: " in printed
    assert f"<pre>{printed[printed.index('accuracy  ') :].strip()}</pre>" in helicon.evaluate(run, "midi")._repr_html_()
    files = sorted(map(str, (tmp_path / "midi").rglob("*.mid")))
    assert main(["classify", "runs/told", *files, "--top", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    found = helicon.classify(helicon.load(tmp_path / "runs" / "told"), files)
    right = 0
    for file, line, each in zip(files, lines, found):
        assert line == f"{file}  {each.label} {each.probabilities[each.label]:.3f}"
        assert sum(each.probabilities.values()) == pytest.approx(1)
        right += each.label == Path(file).parent.name
    assert right == np.trace(report["confusion"])


def test_what_cannot_be_classified_is_one_line(tmp_path, monkeypatch, capsys, bundle):
    monkeypatch.chdir(tmp_path)
    save_bundle(text_bundle(), tmp_path / "plain")
    save_bundle(bundle, tmp_path / "labels")
    (tmp_path / "a.txt").write_text("hello")
    (tmp_path / "empty.txt").write_text("")
    Path("unknown/z").mkdir(parents=True)
    for i in range(3):
        Path(f"unknown/z/{i}.txt").write_text("hello there")
    for words, said in (
        (["classify", "plain", "a.txt"], "this model has no labels"),
        (["classify", "labels", "no.txt"], "no.txt: No such file"),
        (["classify", "labels", "a.mid"], "a.mid: .md .txt files are accepted"),
        (["classify", "labels", "empty.txt"], "empty.txt: "),
        (["classify", "labels", "a.txt", "--top", "0"], "--top 0"),
        (["eval", "labels", "--data.path", "unknown"], "unknown: no labels that the run has; the run has a, b, c"),
        (["train", "classify", "unknown", "--from", "plain", *FAST], "one label alone, z"),
        (
            ["train", "classify", "unknown", "--from", "plain", "--model.auxiliary=-1"],
            "--model.auxiliary -1.0: a number",
        ),
        (
            ["train", "classify", "unknown", *FAST],
            "classify needs --from RUN, the run or bundle that it starts from; from scr",
        ),
    ):
        assert main(words) != 0
        captured = capsys.readouterr()
        assert said in captured.err.splitlines()[-1], (words, captured.err)
    with torch.no_grad():
        bundle.network.head.weight.fill_(float("nan"))
    save_bundle(bundle, tmp_path / "damaged")
    assert main(["classify", "damaged", "a.txt"]) == 1
    assert "not finite" in capsys.readouterr().err


def test_what_is_held_out_is_what_training_held_out(bundle, tmp_path, monkeypatch):
    """Also where there are files without a label, which training passes over; a report is nobody's duty."""
    for i in range(12):
        for label in ("a/", "b/", ""):
            path = tmp_path / "texts" / f"{label}{i}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{label} {i}")
    source = DataSource(
        path=tmp_path / "texts", layouts=("text",), tokenizers={"text": "bytes"}, val_split=0.1, examples="labelled",
        labels=(), cache=tmp_path / "cache",
    )  # fmt: skip
    (trained,) = prepare(source).corpora
    bundle.objective = Classify()
    for tables in (1, 0):
        found = evaluate(bundle, tmp_path / "texts", validation=True, val_split=0.1)
        (corpus,) = found.prepared.corpora
        assert (list(corpus.names), list(corpus.val)) == (list(trained.names), list(trained.val))
        assert [loss.pieces for loss in found.losses] == [sum(trained.val)]
        assert len(found.tables) == tables
        monkeypatch.setattr(Classify, "report", lambda *batches: {})


def test_options_that_are_none():
    with pytest.raises(ValueError, match="auxiliary"):
        Classify(auxiliary=-1)
    with pytest.raises(ValueError, match="slot_weights of music"):
        NextToken(slot_weights={"music": "much"})  # type: ignore[dict-item]
