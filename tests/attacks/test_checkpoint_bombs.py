"""Checkpoints of strangers: nothing runs, nothing is hashed or copied for ever, nothing is larger than its file."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from attacks.harness import attempt, posix

from helicon.training.runs.checkpoints import latest_checkpoint, read_checkpoint

pytestmark = posix


def archive(checkpoint: Any = None) -> dict[str, bytes]:
    """Entries of a checkpoint as PyTorch writes it."""
    buffer = io.BytesIO()
    torch.save({"state_dict": {"w": torch.zeros(4)}} if checkpoint is None else checkpoint, buffer)
    with zipfile.ZipFile(buffer) as file:
        return {name: file.read(name) for name in file.namelist()}


def write(path: Path, entries: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return path


def with_pickle(path: Path, content: bytes) -> Path:
    return write(path, {name: content if name.endswith("data.pkl") else old for name, old in archive().items()})


def edited(old: bytes, new: bytes, checkpoint: Any = None) -> Callable[[Path], Path]:
    """A checkpoint whose pickle has other bytes in one place."""

    def make(path: Path) -> Path:
        entries = archive(checkpoint)
        name = next(name for name in entries if name.endswith("data.pkl"))
        assert old in entries[name]
        return write(path, {**entries, name: entries[name].replace(old, new)})

    return make


def shaped(shape: bytes) -> Callable[[Path], Path]:
    """A checkpoint of one tensor whose size and stride are pushed by these instructions."""
    return edited(b"K\x04\x85q\nK\x01\x85q\x0b", shape + b"q\xfdh\xfd")


def overlapping(path: Path) -> Path:
    """Four rows of four that take 7 numbers, the last ones of a storage of 16: what ignores strides goes beyond it."""
    return write(path, archive({"state_dict": {"w": torch.zeros(16)[9:].as_strided((4, 4), (1, 1))}}))


def pickled(*parts: bytes) -> Callable[[Path], Path]:
    """A checkpoint of a pickle: a mapping with `state_dict` and one more value, pushed by these instructions."""
    content = b"\x80\x02}(X\n\x00\x00\x00state_dict}X\x01\x00\x00\x00x" + b"".join(parts) + b"u."
    return lambda path: with_pickle(path, content)


def deflated(path: Path) -> Path:
    """1 GiB of zeros in 1 MB."""
    entries, n = archive(), 1 << 28
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries.items():
            if name.endswith("data/0"):
                with file.open(name, "w") as data:
                    for _ in range(n * 4 >> 20):
                        data.write(bytes(1 << 20))
            else:
                file.writestr(name, content.replace(b"K\x04tq", b"J" + struct.pack("<i", n) + b"tq"))
    return path


def deflated_pickle(path: Path) -> Path:
    """The storages as they are, the pickle compressed: a long text in it takes nothing in the file."""
    with zipfile.ZipFile(path, "w") as file:
        for name, content in archive().items():
            long = name.endswith("data.pkl")
            file.writestr(name, content, zipfile.ZIP_DEFLATED if long else zipfile.ZIP_STORED)
    return path


def many_entries(path: Path) -> Path:
    """Some hundred thousand of them, all one place in the file."""
    write(path, archive())
    data = bytearray(path.read_bytes())
    start = struct.unpack_from("<I", data, len(data) - 6)[0]
    first = bytes(data[start : len(data) - 22])
    directory = first + first[: 46 + struct.unpack_from("<H", first, 28)[0]] * 400_000
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, len(directory), start, 0)
    path.write_bytes(bytes(data[:start]) + directory + end)
    return path


def twice(path: Path) -> Path:
    """Two pickles, of names that a reader without regard to case takes for one."""
    entries = archive()
    name = next(name for name in entries if name.endswith("data.pkl"))
    return write(path, {**entries, name.replace("data.pkl", "DATA.pkl"): b"cos\nsystem\n."})


def shared_storage(path: Path) -> Path:
    """A storage whose entry is shorter than its tensor says: read beyond its end, if it is believed."""
    entries = archive()
    return write(path, {name: old[:4] if name.endswith("data/0") else old for name, old in entries.items()})


class Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch ran",)


DOUBLED = b")q\x00" + b"h\x00h\x00\x86q\x00" * 40
LISTS = b"]q\x00" + b"](h\x00h\x00eq\x00" * 40
MAPPINGS = b"}q\x00" + b"}(K\x01h\x00K\x02h\x00uq\x00" * 40
SPARSE = {"state_dict": {"w": torch.sparse_coo_tensor(torch.tensor([[0]]), torch.ones(1), (10**15,))}}
EXPANDED = {"state_dict": {"w": torch.zeros(4, 4)}}
SIZES = b"K\x04K\x04\x86q"  # of the tensor above
LARGE = b"\x8a\xff" + b"\xff" * 254 + b"\x7fq\xfe"  # a number of 2,040 bits
ATTACKS: dict[str, Callable[[Path], Path]] = {
    "tuples doubled, as a key": pickled(b"](", DOUBLED, b"}h\x00K\x01se"),
    "tuples doubled": pickled(b"](", DOUBLED, b"e"),
    "lists doubled": pickled(b"](", LISTS, b"e"),
    "mappings doubled": pickled(b"](", MAPPINGS, b"e"),
    "a list doubled, then filled": pickled(b"]q\x63", LISTS.replace(b"]q\x00", b"h\x63q\x00", 1), b"h\x63K\x01a0"),
    "a list that holds itself": pickled(b"]q\x00h\x00a"),
    "a mapping that holds itself": pickled(b"}q\x00K\x01h\x00s"),
    "lists that hold each other": pickled(b"]q\x00]q\x01h\x00aah\x01h\x00a0"),
    "a tuple as a key": pickled(b"}K\x01K\x02\x86K\x01s"),
    "a list as a key": pickled(b"}]K\x01s"),
    "nested": pickled(b"]" * 300_000 + b"a" * 299_999),
    "tuples nested": pickled(b")" + b"\x85" * 500_000),
    "many instructions": pickled(b"]" + b"Na" * 3_000_000),
    "marks": pickled(b"(" * 1_000_000),
    "a memo of places": pickled(b"N" + b"".join(b"r" + struct.pack("<I", n) for n in range(900_000))),
    "a long number": pickled(b"\x8b" + struct.pack("<i", 1_000_000) + b"\x7f" * 1_000_000),
    "decimal digits": pickled(b"L" + b"9" * 3_000_000 + b"L\n"),
    "a text of a claimed length": pickled(b"X\xff\xff\xff\x7fabc"),
    "a text of 8 claimed bytes": pickled(b"\x8d" + b"\xff" * 7 + b"\x7fabc"),
    "a frame": pickled(b"\x95" + b"\xff" * 7 + b"\x7fN"),
    "bytes": pickled(b"\x96" + b"\xff" * 7 + b"\x7fabc"),
    "an extension": pickled(b"\x82\x01"),
    "a call of the system": pickled(b"cos\nsystem\nX\x09\x00\x00\x00touch ran\x85R"),
    "a call of an allowed name": pickled(b"ctorch._utils\n_rebuild_sparse_tensor\n)R"),
    "a global of four parts": pickled(b"X\x02\x00\x00\x00osX\x06\x00\x00\x00system\x93"),
    "an attribute": pickled(b"ccollections\nOrderedDict\n)R}X\x05\x00\x00\x00itemsK\x01sb"),
    "another attribute besides": pickled(
        b"ccollections\nOrderedDict\n)R}X\x09\x00\x00\x00_metadataNsX\x05\x00\x00\x00itemsK\x01sb"
    ),
    "numpy": pickled(b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"),
    "a sparse tensor": lambda path: write(path, archive(SPARSE)),
    "a quantized tensor": lambda path: write(
        path, archive({"state_dict": {"w": torch.quantize_per_tensor(torch.zeros(4), 1.0, 0, torch.qint8)}})
    ),
    "a meta tensor": lambda path: write(path, archive({"state_dict": {"w": torch.empty(1 << 40, device="meta")}})),
    "an expanded tensor": lambda path: write(path, archive({"state_dict": {"w": torch.zeros(1).expand(1 << 40)}})),
    "a size beyond the storage": edited(b"K\x04\x85q", b"J\xff\xff\xff\x7f\x85q"),
    "a size below 0": edited(b"K\x04\x85q", b"J\xff\xff\xff\xff\x85q"),
    "strides beyond the storage": edited(b"K\x04K\x01\x86q", b"K\xffK\xff\x86q", EXPANDED),
    "strides that overlap": overlapping,
    "a large number of a shape": shaped(b"(" + LARGE + b"K\0" * 15 + b"t"),
    "large numbers of a shape": shaped(b"(" + LARGE + b"h\xfe" * 2000 + b"t"),
    "many axes": shaped(b"(" + b"K\1" * 17 + b"t"),
    "a storage of another key": edited(b"X\x01\x00\x00\x000", b"X\x01\x00\x00\x009"),
    "a storage that leads elsewhere": edited(b"X\x01\x00\x00\x000", b"X\x05\x00\x00\x00../..0"[:10]),
    "a storage of more elements": edited(b"K\x04tq", b"J\xff\xff\xff\x7ftq"),
    "a storage of doubles": edited(b"FloatStorage", b"DoubleStorage"),
    "a storage cut off": shared_storage,
    "deflated": deflated,
    "a deflated pickle": deflated_pickle,
    "many entries": many_entries,
    "entries twice": twice,
    "another entry": lambda path: write(path, {**archive(), "archive/constants.pkl": b"."}),
    "a name that leads elsewhere": lambda path: write(path, {**archive(), "archive/../../x": b"."}),
    "an old pickle without an archive": lambda path: path.write_bytes(pickle.dumps({"state_dict": {}})) and path,
    "an old pickle that runs": lambda path: path.write_bytes(pickle.dumps(Payload())) and path,
    "no mapping": lambda path: write(path, archive([1])),
    "no tensors": lambda path: write(path, archive({"state_dict": {"w": 1}})),
    "no names": lambda path: write(path, archive({"state_dict": torch.zeros(1)})),
    "settings that are none": lambda path: write(path, archive({"state_dict": {}, "hyper_parameters": 1})),
    "a comment after the archive": lambda path: write(path, archive()).write_bytes(path.read_bytes() + b"x") and path,
    "empty": lambda path: (path.write_bytes(b"") and path) or path,
}
FAST = {
    "tuples doubled, as a key", "lists doubled", "a list doubled, then filled", "lists that hold each other",
    "a memo of places", "a call of the system", "an attribute", "a sparse tensor", "an expanded tensor",
    "strides beyond the storage", "strides that overlap", "a large number of a shape", "large numbers of a shape",
    "many axes", "a storage cut off", "many entries", "entries twice", "a deflated pickle",
}  # fmt: skip


@pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in ATTACKS]
)
def test_what_a_checkpoint_holds(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    path = ATTACKS[name](tmp_path / "last.ckpt")
    attempt(read_checkpoint, path).is_refusal(path)
    assert not (tmp_path / "ran").exists()


def test_another_pickle_before_an_honest_archive(tmp_path):
    """PyTorch reads what comes first, as its format of before; a reader of zip files looks at the end."""
    doubled = b"".join(b"q%ch%c\x86" % (i, i) for i in range(40))
    path = tmp_path / "last.ckpt"
    path.write_bytes(b"\x80\x02}K\x01\x85" + doubled + b"K\x01s.")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as file:
        for name, content in archive().items():
            file.writestr(name, content)
    attempt(read_checkpoint, path).is_refusal(path, "from its first byte on")


def test_an_entry_that_is_not_where_the_directory_says(tmp_path):
    path = write(tmp_path / "last.ckpt", archive())
    content = path.read_bytes()
    path.write_bytes(content.replace(b"PK\3\4", b"PK\3\5", 2).replace(b"PK\3\5", b"PK\3\4", 1))  # the second header
    attempt(read_checkpoint, path).is_refusal(path, "not where its directory says")


def test_links_are_not_followed(tmp_path):
    write(tmp_path / "real.ckpt", archive())
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    os.symlink(tmp_path / "real.ckpt", folder / "last.ckpt")
    attempt(read_checkpoint, folder / "last.ckpt").is_refusal(folder / "last.ckpt", "a symbolic link")
    attempt(latest_checkpoint, tmp_path / "run").is_refusal(folder / "last.ckpt", "a symbolic link")
    os.mkfifo(tmp_path / "pipe")
    attempt(read_checkpoint, tmp_path / "pipe").is_refusal(tmp_path / "pipe", "only regular files")
    (tmp_path / "other").mkdir()
    os.symlink(folder, tmp_path / "other" / "checkpoints")
    attempt(latest_checkpoint, tmp_path / "other").is_refusal(tmp_path / "other" / "checkpoints")


def test_what_our_checkpoints_hold_is_read(tmp_path):
    state = OrderedDict(w=torch.arange(6.0).view(2, 3).T, b=torch.ones(3, dtype=torch.bfloat16), i=torch.arange(3))
    state._metadata = OrderedDict({"": {"version": 1}})  # type: ignore[attr-defined]
    betas, shared = (0.9, 0.95), [1, 2]
    kept = {
        "state_dict": state, "groups": [{"betas": betas, "lr": 1e-3}, {"betas": betas}], "a": shared, "b": shared,
        "text": "\u202e" * 100_000, "big": 1 << 80, "none": None, "flag": True, "empty": torch.zeros(0), 3: (),
        "part": state["w"][1:], "scalar": torch.tensor(1.5, dtype=torch.float64), "bools": torch.ones(2) > 0,
    }  # fmt: skip
    torch.save(kept, tmp_path / "last.ckpt")
    found = read_checkpoint(tmp_path / "last.ckpt")
    assert found.keys() == kept.keys()
    assert found["groups"] == kept["groups"]
    assert all(torch.equal(found["state_dict"][name], tensor) for name, tensor in state.items())
    assert found["state_dict"]._metadata == state._metadata  # type: ignore[attr-defined]
    assert torch.equal(found["part"], kept["part"])
