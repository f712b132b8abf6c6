"""What must happen to damaged or hostile models: headers, misfits, forged arrays."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from attacks.harness import attempt, posix
from safetensors.torch import load_file, save_file

import helicon
from helicon.bundle.bundle import Bundle, make_gpt
from helicon.bundle.storage import WEIGHTS, load_bundle, save_bundle
from helicon.generation.resume_store import ResumeStore
from helicon.gpt.model import GPTConfig
from helicon.sequence.layout import Layout
from helicon.tokenizers.sequencer import Sequencer
from helicon.tokenizers.text import BytesTokenizer

pytestmark = posix


@pytest.fixture
def bundle(tmp_path) -> Path:
    sequencer = Sequencer([Layout.parse("text")], {"text": BytesTokenizer()}, 16)
    save_bundle(
        Bundle(
            gpt=make_gpt(GPTConfig(layers=1, width=8, heads=2), sequencer.schema),
            sequencer=sequencer,
            tokenizer_names={"text": "bytes"},
        ),
        tmp_path / "b",
    )
    return tmp_path / "b"


def test_weights_that_do_not_fit_are_named_with_their_shapes(bundle):
    weights = load_file(bundle / WEIGHTS)
    weights["norm.weight"] = torch.zeros(9)
    weights["surprise"] = torch.zeros(1)
    del weights["norm.bias"]
    save_file(weights, bundle / WEIGHTS)
    ended = attempt(load_bundle, bundle)
    ended.is_refusal(bundle / WEIGHTS, "norm.weight is [9], the config says [8]", "missing norm.bias", "surprise")


def forged(shape: str, kind: str = "<i4") -> bytes:
    """An array's file whose header claims that shape."""
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


def bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file, file.open("a.npy", "w") as member:
        member.write(forged("(1000000000,)"))
        for _ in range(200):
            member.write(bytes(1 << 20))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [forged("(1000000000000,)"), forged("(-1,)"), forged("(4,)", "|O") + b"cos\nsystem\n.",
     forged("(2, 2)") + b"x" * 16,
     forged("(1 << 60,)"), forged("(" * 5000), bomb(), b""],
    ids=range(8),
)  # fmt: skip
def test_forged_arrays_of_a_level_are_made_again(tmp_path, content):
    kept = ResumeStore(tmp_path / "levels", "key")
    kept.put("hop-8", 0, np.arange(5))
    assert kept.get("hop-8", 0).tolist() == [0, 1, 2, 3, 4]  # type: ignore[union-attr]
    (tmp_path / "levels" / "hop-8" / "000.npy").write_bytes(content)
    ended = attempt(kept.get, "hop-8", 0)
    ended.is_cheap()
    assert (ended.value, ended.kind) == ("None", "")


def test_a_pipe_in_the_place_of_an_array_is_not_waited_for(tmp_path):
    kept = ResumeStore(tmp_path / "levels", "key")
    (tmp_path / "levels" / "hop-8").mkdir(parents=True, exist_ok=True)
    os.mkfifo(tmp_path / "levels" / "hop-8" / "000.npy")
    ended = attempt(kept.get, "hop-8", 0)
    assert (ended.value, ended.kind) == ("None", "")


def test_no_archive_of_arrays_is_read():
    """Features are written as .npz; nothing of ours reads one. Arrays are mapped, not read by what they claim."""
    sources = [path.read_text(encoding="utf-8") for path in Path(helicon.__file__).parent.rglob("*.py")]
    loads = [line for source in sources for line in source.splitlines() if "np.load(" in line]
    assert len(loads) == 2
    assert all('mmap_mode="r", allow_pickle=False' in line for line in loads)
    assert not any("allow_pickle=True" in source for source in sources)
