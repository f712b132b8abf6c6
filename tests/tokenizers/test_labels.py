"""Labels to one id and back."""

from __future__ import annotations

import json

import numpy as np
import pytest

from helicon.tokenizers.labels import LabelTokenizer

tokenizer = LabelTokenizer(["george", "jackson", "lady-gaga"])


def test_a_label_is_one_id():
    assert tokenizer.block.name == "style"
    assert tokenizer.block.tokens == ("george", "jackson", "lady-gaga", "any-label")
    assert tokenizer.encode("jackson").tolist() == [1]
    assert tokenizer.encode("Lady Gaga").tolist() == [2]
    assert tokenizer.encode("Lady Gaga").dtype == np.int64


@pytest.mark.parametrize("nothing", ["", "  ", "nobody"])
def test_what_has_no_word_is_left_open(nothing):
    assert tokenizer.encode(nothing).tolist() == [3]


def test_any_ids_are_a_label_or_none():
    assert [tokenizer.decode(np.array([i])) for i in range(4)] == ["george", "jackson", "lady-gaga", ""]
    assert tokenizer.decode(np.array([], np.int64)) == ""
    assert tokenizer.decode(np.array([1, 0])) == "george"
    with pytest.raises(ValueError, match=r"ids must be 0 \.\. 3"):
        tokenizer.decode(np.array([4]))


@pytest.mark.parametrize(
    ("text", "label"),
    [("jackson", "jackson"), (" Lady  GAGA ", "lady-gaga"), ("lady-gaga", "lady-gaga"), ("", ""), ("any-label", "")],
)
def test_labels_are_typed(text, label):
    assert tokenizer.parse(text) == label


def test_a_typing_mistake_names_what_is_near():
    with pytest.raises(ValueError, match="unknown label 'jakson'; nearest: jackson"):
        tokenizer.parse("jakson")


def test_the_commonest_labels_are_fitted():
    found = ["b", "c", None, "A", "b", "a", "", "c", "b", "!", "d"]
    assert LabelTokenizer.fit(found).labels == ("b", "a", "c", "d")
    assert LabelTokenizer.fit(found, max_labels=2).labels == ("b", "a")
    assert LabelTokenizer.fit([]).block.tokens == ("any-label",)


def test_labels_that_read_like_the_open_word_keep_apart():
    labels = ["any-label", "my-label", "my-label-label", "my"]
    other = LabelTokenizer(labels)
    for label in labels:
        assert other.decode(other.encode(label)) == label
    for word, label in zip(other.block.tokens, labels):
        assert other.parse(word) == label
    assert other.parse("any-label") == ""


def test_dropping_leaves_open():
    rng = np.random.default_rng(0)
    assert tokenizer.drop(np.array([1]), rng, 1.0).tolist() == [3]
    assert tokenizer.drop(np.array([1]), rng, 0.0).tolist() == [1]
    left = [int(tokenizer.drop(np.array([1]), rng, 0.25)[0]) for _ in range(400)]
    assert set(left) == {1, 3}
    assert 60 <= left.count(3) <= 140


def test_new_labels_go_last():
    grown = tokenizer.grow(["Lucas", "george", None, "", "lucas", "ada"])
    assert grown.labels == ("george", "jackson", "lady-gaga", "lucas", "ada")
    assert grown.block.tokens[-1] == "any-label"
    assert tokenizer.grow([]).state() == tokenizer.state()


def test_state_survives_json():
    other = LabelTokenizer(["my-label", "été"], "kind")
    again = LabelTokenizer.from_state(json.loads(json.dumps(other.state())))
    assert (again.block, again.labels) == (other.block, ("my-label", "été"))
    assert again.describe() == {"labels": ["my-label-label", "été"]}
