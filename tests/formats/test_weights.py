"""Named tensors on disk: what kinds there are, what a hash is of, and what files are refused.

How damaged files of a whole model are told of: tests/bundle/test_bundle.py.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch

from helicon.formats.weights import WeightsError, hash_weights, read_header, read_weights, write_weights

TENSORS = {
    "kernel": torch.randn(2, 3, 3, 3).to(memory_format=torch.channels_last),
    "turned": torch.arange(6.0).view(2, 3).T,
    "half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    "double": torch.tensor([1 / 3], dtype=torch.float64),
    "whole": torch.tensor([1 << 40, -1]),
    "yes": torch.tensor([True, False]),
    "scalar": torch.tensor(7),
    "nothing": torch.zeros(0, 4),
    "learned": torch.nn.Parameter(torch.ones(3)),
}


def test_tensors_come_back(tmp_path):
    path = tmp_path / "new" / "folder" / "a.safetensors"
    write_weights(path, TENSORS)
    found = read_weights(path)
    assert found.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape)
        assert torch.equal(found[name], tensor)
        assert not found[name].requires_grad
    assert [path.name for path in path.parent.iterdir()] == ["a.safetensors"]


def test_what_is_expected_is_read_in_that_order(tmp_path):
    write_weights(tmp_path / "a.safetensors", {"a": torch.ones(2), "b": torch.zeros(3).long()})
    expected = {"b": torch.ones(3).int(), "a": torch.ones(2).half()}  # of the same kind, not of the same type
    found = read_weights(tmp_path / "a.safetensors", expected)
    assert list(found) == ["b", "a"]
    assert (found["a"].dtype, found["b"].dtype) == (torch.float32, torch.int64)


def test_the_hash_is_of_names_and_values():
    tensors = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor([1, 2])}
    whole = hash_weights(tensors)
    assert len(whole) == 16
    int(whole, 16)
    assert hash_weights(dict(reversed(tensors.items()))) == whole
    assert hash_weights({**tensors, "a": tensors["a"].T.contiguous().T}) == whole  # other strides
    assert hash_weights(TENSORS) == hash_weights({name: tensor.clone() for name, tensor in TENSORS.items()})
    changes = [
        {**tensors, "a": tensors["a"] + 1e-6},
        {**tensors, "a": tensors["a"].flip(0)},
        {**tensors, "b": tensors["b"].int()},
        {"c": tensors["a"], "b": tensors["b"]},
        {"a": tensors["a"]},
        {**tensors, "c": torch.zeros(0)},
    ]
    assert len({whole, *map(hash_weights, changes)}) == 7


def test_the_first_problems_are_named_and_the_rest_counted(tmp_path):
    path = tmp_path / "a.safetensors"
    one = torch.ones(1)
    write_weights(path, {"a": torch.ones(2), "b": one, "n": one.clone(), "x": one.clone()})
    expected = {"a": torch.ones(3), "b": one.long(), "n": one, "y": one, "z": one}
    with pytest.raises(WeightsError) as caught:
        read_weights(path, expected)
    assert str(caught.value) == (
        f"{path}: weights do not fit the config: a is [2], the config says [3]; b holds F32; missing y; missing z "
        f"and 1 more"
    )


def file(header: object, body: bytes = b"") -> bytes:
    """A safetensors file of this header."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


ITEM = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1234567", "truncated, or its header claims 0 bytes of a file of 7"),
        (file({"a": {**ITEM, "data_offsets": 4}}, b"1234"), "its safetensors header is damaged"),
        (file({"a": {**ITEM, "data_offsets": [0]}}, b"1234"), "its safetensors header is damaged"),
        (file({"a": 1}), "its safetensors header is damaged"),
        (file({"a": ITEM}, b"123"), "bytes, its header says"),
        (file({"a": ITEM}), "bytes, its header says"),
        (file({"a": {**ITEM, "dtype": "F33"}}, b"1234"), "does not fit bytes 0 to 4"),
        (file({"a": {**ITEM, "shape": [2]}}, b"1234"), "does not fit bytes 0 to 4"),
        (file({"a": {**ITEM, "data_offsets": [2, 4]}}, b"1234"), "does not fit bytes 2 to 4"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, content: bytes, message: str):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=message) as caught:
        read_weights(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_what_is_accepted(tmp_path: Path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(file({"__metadata__": {"format": "pt"}, "a": ITEM}, struct.pack("<f", 1.5)))
    assert read_weights(path)["a"].tolist() == [1.5]
    path.write_bytes(file({}))
    assert read_weights(path) == {}


@pytest.mark.parametrize("name", ["nowhere.safetensors", "."])
def test_no_file(tmp_path: Path, name: str):
    with pytest.raises(WeightsError, match="missing"):
        read_header(tmp_path / name)
