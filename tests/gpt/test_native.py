"""The step in C is that of PyTorch, for every shape, pattern and number format, whatever the batch and the threads."""

from __future__ import annotations

import copy
import ctypes
import os
import platform
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from helicon.gpt.attention.stride_patterns import ColumnPattern
from helicon.gpt.cache import Cache
from helicon.gpt.model import GPT, GPTConfig
from helicon.gpt.native import build
from helicon.gpt.native.step import NativeStep
from helicon.gpt.numbers import cast
from helicon.gpt.quantized import Int8Linear
from helicon.gpt.stepping import EagerStep, make_step
from helicon.sequence.layout import PatternContext

pytestmark = pytest.mark.usefixtures("one_thread")
needs_compiler = pytest.mark.skipif(build.compiler() is None, reason="no C compiler")

FRAME = PatternContext(prefix=5, row=6)
POSITIONS = torch.tensor([3, 5, 20, 30, 48, 11, 6])  # the first in the prefix, the second the first of the slot
TOKENS, ROWS = 50, slice(10, 141)  # rows that neither tiles nor lanes divide
SHAPES: list[dict[str, Any]] = [
    {},
    {"pattern": "strided:6"},
    {"pattern": "local:7,fixed:8,2,summary:8,3", "norm": "rms"},
    {"pattern": "previous:8,conv:3,column", "mlp": "swiglu", "norm": "rms", "bias": False, "qk_norm": True},
    {"pattern": "block:4,row,column", "mlp": "relu2", "qk_ratio": 0.5, "tied": False},
    {"mlp": "quick_gelu", "attention_ratio": 0.5, "heads": 4},
    {"width": 128, "heads": 1, "mlp_ratio": 1.3},
]


def model(rope: bool = False, **shape: Any) -> GPT:
    """With weights large enough that logits depend on everything."""
    torch.manual_seed(0)
    gpt = GPT(GPTConfig(**{"layers": 3, "width": 72, "heads": 2} | shape), 150, 40, rope=rope).eval()
    for name, parameter in gpt.named_parameters():
        parameter.data.mul_(4 if parameter.dim() > 1 else 1)
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.1)
    return gpt


def prefilled(gpt: GPT) -> tuple[Cache, dict[str, torch.Tensor], torch.Tensor]:
    """A cache of whole sequences, the inputs of a step at POSITIONS, and the logits that are due."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(150, (len(POSITIONS), TOKENS), generator=generator)
    rows = torch.randint(40, (len(POSITIONS), TOKENS, 2), generator=generator)
    cache, batch = gpt.new_cache(len(POSITIONS), TOKENS), torch.arange(len(POSITIONS))
    whole = gpt.logits(gpt(ids, rows, FRAME, cache), ROWS)[batch, POSITIONS]
    inputs = {"ids_B": ids[batch, POSITIONS], "coord_ids_BA": rows[batch, POSITIONS], "position_B": POSITIONS}
    for b, position in enumerate(POSITIONS.tolist()):  # what the step is to write
        cache.kv[:, :, b, :, position] = torch.nan
    return cache, inputs, whole


def eager(gpt: GPT, cache: Cache) -> EagerStep:
    """PyTorch's step on what a cache holds."""
    step = EagerStep(gpt, gpt.new_cache(len(POSITIONS), TOKENS), FRAME)
    step.cache.copy_rows(cache, range(len(POSITIONS)))
    return step


@needs_compiler
@pytest.mark.parametrize("rope", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@torch.inference_mode()
def test_it_is_the_whole_forward_and_the_step_of_pytorch(shape, rope):
    gpt = model(rope, **shape)
    cache, inputs, whole = prefilled(gpt)
    theirs = eager(gpt, cache)
    logits = NativeStep(gpt, cache, FRAME)(**inputs, vocab_slice=ROWS, kv_length=TOKENS)
    torch.testing.assert_close(logits, whole, atol=1e-5, rtol=0)
    torch.testing.assert_close(theirs(**inputs, vocab_slice=ROWS, kv_length=TOKENS), logits, atol=1e-5, rtol=0)
    kept = theirs.cache.kv[..., : cache.kv.shape[-1]]  # without what heads are filled up with
    torch.testing.assert_close(cache.kv, kept, atol=1e-5, rtol=0, equal_nan=True)  # and what is kept of the token


@needs_compiler
@pytest.mark.parametrize("number", ["bf16", "int8"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@torch.inference_mode()
def test_small_formats_are_at_least_as_near_to_float32_as_pytorchs(shape, number):
    _, _, exact = prefilled(model(**shape))
    gpt = cast(model(**shape), number)
    cache, inputs, _ = prefilled(gpt)
    theirs = eager(gpt, cache)(**inputs, vocab_slice=ROWS, kv_length=TOKENS)
    ours = NativeStep(gpt, cache, FRAME)(**inputs, vocab_slice=ROWS, kv_length=TOKENS)
    scale = float(exact.std())
    assert float((ours - exact).square().mean().sqrt()) < 1.05 * float((theirs - exact).square().mean().sqrt())
    assert float((ours - exact).abs().max()) < 0.15 * scale
    assert float((theirs - exact).abs().max()) < 0.15 * scale


@needs_compiler
@torch.inference_mode()
def test_bfloat16_is_rounded_to_nearest():
    """Keys and values that are kept would be a 700th smaller if it were cut off."""
    gpt = cast(model(), "bf16")
    exact = copy.deepcopy(gpt).float()
    cache, inputs, _ = prefilled(gpt)
    theirs = eager(exact, prefilled(exact)[0])
    NativeStep(gpt, cache, FRAME)(**inputs, vocab_slice=ROWS, kv_length=TOKENS)
    theirs(**inputs, vocab_slice=ROWS, kv_length=TOKENS)
    batch = torch.arange(len(POSITIONS))
    kept, expected = (each.kv[0][:, batch, :, POSITIONS].float().abs().sum() for each in (cache, theirs.cache))
    assert float(kept / expected) == pytest.approx(1, abs=4e-4)


@needs_compiler
@pytest.mark.parametrize("mlp", ["gelu", "quick_gelu", "relu2", "swiglu"])
@torch.inference_mode()
def test_activations_of_numbers_far_from_zero(mlp):
    gpt = model(mlp=mlp, mlp_ratio=1.0)
    for layer in gpt.layers:
        far = torch.tensor([-1000.0, -100, -89.5, -60, -53, -13, -12.97, -11, -10, 10, 60, 100])
        layer.mlp.up.bias.copy_(far.repeat(12)[: len(layer.mlp.up.bias)])
    cache, inputs, _ = prefilled(gpt)
    theirs = eager(gpt, cache)(**inputs, vocab_slice=ROWS, kv_length=TOKENS)
    logits = NativeStep(gpt, cache, FRAME)(**inputs, vocab_slice=ROWS, kv_length=TOKENS)
    torch.testing.assert_close(logits, theirs, atol=1e-4, rtol=1e-4)


@needs_compiler
@pytest.mark.parametrize(
    ("shape", "context", "frame"),
    [
        ({"pattern": "fixed:128,8", "width": 64}, 129, PatternContext(1)),
        ({"pattern": "conv:15", "width": 64}, 65, PatternContext(1, 8)),
        ({"width": 512, "heads": 8, "attention_ratio": 0.25, "mlp_ratio": 0.5}, 65, PatternContext(1)),
    ],
)
@torch.inference_mode()
def test_scratch_is_large_enough(shape, context, frame):
    """What lies behind it is not written to."""
    gpt = cast(model(layers=1, **shape), "int8")
    batch = 32 if "conv" not in str(shape) and "fixed" not in str(shape) else 1
    step = NativeStep(gpt, gpt.new_cache(batch, context), frame, 1)
    scratch = step._buffers[-1]
    guarded = torch.full((scratch.numel() + 4096,), 7.0)
    step._model.scratch = guarded.data_ptr()
    for position in range(0, context, context - 1):
        where = torch.full((batch,), position)
        step(torch.zeros_like(where), torch.zeros(batch, 1, dtype=torch.int64), where, ROWS, position + 1)
    assert bool((guarded[scratch.numel() :] == 7).all())


@needs_compiler
@torch.inference_mode()
def test_without_openmp_or_with_fewer_threads_than_asked_for(monkeypatch, tmp_path):
    """One thread then does the work of all."""
    gpt = model(pattern="dense,row")
    cache, inputs, _ = prefilled(gpt)
    expected = NativeStep(gpt, copy.deepcopy(cache), FRAME)(**inputs, vocab_slice=ROWS, kv_length=TOKENS)
    monkeypatch.setenv("HELICON_CACHE", str(tmp_path))
    monkeypatch.setattr(build, "FLAGS", (["-O1"],))  # for time's sake
    build.library.cache_clear()
    try:
        found = NativeStep(gpt, cache, FRAME, 4)(**inputs, vocab_slice=ROWS, kv_length=TOKENS)
    finally:
        build.library.cache_clear()
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_pytorchs_step_on_a_cpu_keeps_float32():
    gpt = cast(model(), "bf16")
    cache = gpt.new_cache(1, 8)
    EagerStep(gpt, cache, FRAME)
    assert cache.kv.dtype == torch.float32


def test_the_compiler_named_in_the_environment_may_have_arguments(monkeypatch):
    monkeypatch.setenv("CC", "sh -c 'a b'")
    command = build.compiler()
    assert command is not None
    assert command[0].endswith("/sh")
    assert command[1:] == ["-c", "a b"]
    monkeypatch.setenv("CC", "no-such-compiler")
    assert build.compiler() is None


@needs_compiler
@pytest.mark.parametrize("number", ["fp32", "bf16", "int8"])
@torch.inference_mode()
def test_results_depend_on_neither_batch_nor_threads(number):
    gpt = cast(model(pattern="dense,row", width=96), number)
    cache, inputs, _ = prefilled(gpt)
    together = NativeStep(gpt, copy.deepcopy(cache), FRAME)(**inputs, vocab_slice=ROWS, kv_length=TOKENS)
    for threads in (2, 5):
        again = NativeStep(gpt, copy.deepcopy(cache), FRAME, threads)(**inputs, vocab_slice=ROWS, kv_length=TOKENS)
        assert torch.equal(again, together)
    for b in range(len(POSITIONS)):
        alone = gpt.new_cache(1, TOKENS)
        alone.copy_rows(cache, [b])
        one = {name: values[b : b + 1] for name, values in inputs.items()}
        assert torch.equal(NativeStep(gpt, alone, FRAME)(**one, vocab_slice=ROWS, kv_length=TOKENS)[0], together[b])


@needs_compiler
@torch.inference_mode()
def test_key_lists_follow_a_long_context_and_rows_far_apart():
    gpt, frame = model(pattern="column:7,local:5"), PatternContext(2)
    step, eager = (make(gpt, gpt.new_cache(2, 700), frame) for make in (NativeStep, EagerStep))
    for start in (0, 340):  # together, then further apart than lists are made for at a time
        for position in range(start, 700, 3):
            inputs = torch.tensor([position % 150] * 2), torch.tensor([[position % 40]] * 2)
            positions = torch.tensor([position, position - start])
            logits = step(*inputs, positions, ROWS, position + 1)
            torch.testing.assert_close(logits, eager(*inputs, positions, ROWS, position + 1), atol=1e-5, rtol=0)


@needs_compiler
@torch.inference_mode()
def test_key_lists_of_rows_far_apart_are_made_for_many_steps_at_a_time(monkeypatch):
    calls, keys = [], ColumnPattern.keys
    monkeypatch.setattr(ColumnPattern, "keys", lambda *args: (calls.append(1), keys(*args))[1])
    gpt = model(pattern="column:7")
    step = NativeStep(gpt, gpt.new_cache(2, 700), PatternContext(2))
    for position in range(400, 500):
        inputs = torch.zeros(2, dtype=torch.int64), torch.zeros(2, 1, dtype=torch.int64)
        step(*inputs, torch.tensor([position, position - 390]), ROWS, position + 1)
    assert len(calls) <= 4


def test_a_machine_without_a_compiler_does_without(monkeypatch):
    monkeypatch.setenv(build.NEVER, "1")
    build.library.cache_clear()
    try:
        gpt = model()
        assert isinstance(make_step(gpt, gpt.new_cache(1, 8), FRAME), EagerStep)
        with pytest.raises(ValueError, match="backend 'native': there is eager here"):
            make_step(gpt, gpt.new_cache(1, 8), FRAME, "native")
    finally:
        build.library.cache_clear()


@needs_compiler
def test_a_compiler_that_fails_is_told_of_and_leaves_nothing(monkeypatch, tmp_path, capsys):
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\necho no such luck >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CC", str(broken))
    monkeypatch.setenv("HELICON_CACHE", str(tmp_path / "cache"))
    build.library.cache_clear()
    try:
        assert build.library() is None
        said = capsys.readouterr().err
        assert "no such luck" in said
        assert len(said.splitlines()) == 1
        assert not list((tmp_path / "cache").iterdir())
    finally:
        build.library.cache_clear()


@needs_compiler
def test_what_a_killed_process_was_compiling_is_removed_by_the_next(tmp_path):
    deadly, quick, cache = tmp_path / "cc", tmp_path / "quick", tmp_path / "cache"
    deadly.write_text("#!/bin/sh\necho half of it > $TMPDIR/part\nkill -9 $PPID\n")
    quick.write_text(f'#!/bin/sh\nexec {shlex.join(build.compiler() or [])} "$@" -O0\n')  # for time's sake
    for path in (deadly, quick):
        path.chmod(0o755)
    command = [sys.executable, "-c", "from helicon.gpt.native import build; assert build.library()"]
    environment = {**os.environ, "HELICON_CACHE": str(cache), "PYTHONPATH": str(Path(__file__).parents[2])}
    killed = subprocess.run(command, env={**environment, "CC": str(deadly)}, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(cache.iterdir())) == 1
    subprocess.run(command, env={**environment, "CC": str(quick)}, check=True)
    assert [path.suffix for path in cache.iterdir() if path.name.startswith("step-")] == [".so"]
    assert len(list(cache.iterdir())) == 1


PROCESSORS = {  # what a compiler may use, by which step.c chooses its branches
    "avx512 with bf16": ("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512bf16"),
    "avx512": ("-mavx512f", "-mavx512bw", "-mavx512vl", "-mno-avx512bf16"),
    "any": ("-mno-avx512f",),
}
PRETEND = Path(__file__).with_name("pretend") / "immintrin.h"
PRETENDED = {  # the same branches in plain C, for processors that have no such instructions
    "avx512 with bf16, pretended": ("-I", str(PRETEND.parent), "-include", str(PRETEND), "-DPRETEND_BF16"),
    "avx512, pretended": ("-I", str(PRETEND.parent), "-include", str(PRETEND)),
}


@needs_compiler
@pytest.mark.parametrize("number", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize("processor", PROCESSORS | PRETENDED)
@torch.inference_mode()
def test_every_branch_for_another_processor_is_the_step_of_pytorch(branches, processor, number):
    """Products of bfloat16 by the processor and without, vectors of 512 bits and of what the compiler makes of them."""
    function = branches.get(processor)
    if function is None:
        assert processor not in PRETENDED
        pytest.skip("this processor or compiler has no such branch")
    for shape in ({}, {"pattern": "strided:6", "mlp": "swiglu", "norm": "rms"}, {"width": 128, "heads": 1}):
        gpt = cast(model(**shape), number)
        cache, inputs, _ = prefilled(gpt)
        due = eager(whole(gpt), cache)(**inputs, vocab_slice=ROWS, kv_length=TOKENS)
        step = NativeStep(gpt, cache, FRAME)
        step._function = function
        found = step(**inputs, vocab_slice=ROWS, kv_length=TOKENS)
        assert float((found - due).abs().max()) < {"fp32": 1e-5, "bf16": 0.05, "int8": 0.05}[number] * float(due.std())


def whole(gpt: GPT) -> GPT:
    """The same numbers in float64: what is computed exactly of weights and a cache in any format."""
    exact = copy.deepcopy(gpt)
    for layer in exact.layers:
        for part in (layer.attention, layer.mlp):
            for name, linear in list(part.named_children()):
                if isinstance(linear, Int8Linear):
                    setattr(part, name, plain(linear))
    if isinstance(exact.head, Int8Linear):
        exact.head = plain(exact.head)
    return exact.double()


def plain(linear: Int8Linear) -> torch.nn.Linear:
    outputs, inputs = linear.weight.shape
    made = torch.nn.Linear(inputs, outputs, bias=linear.bias is not None)
    made.weight.data = linear.weight.double() * linear.scale.double()[:, None]
    if linear.bias is not None:
        made.bias.data = linear.bias.double()
    return made


@pytest.fixture(scope="module")
def branches(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The step as it is compiled for each of PROCESSORS that this one is, and PRETENDED; with less effort, for time."""
    command, folder, found = build.compiler(), tmp_path_factory.mktemp("branches"), {}
    assert command is not None
    flags = set(Path("/proc/cpuinfo").read_text().split()) if Path("/proc/cpuinfo").exists() else set()
    ours = {name: options for name, options in PROCESSORS.items() if wanted(options) <= flags}
    if platform.machine() not in ("x86_64", "AMD64"):
        ours = {}
    for number, (name, options) in enumerate((ours | PRETENDED).items()):
        library = folder / f"step-{number}.so"
        whole = [*command, "-O1", *options, "-shared", "-fPIC", str(build.SOURCE), "-o", str(library), "-lm"]
        if subprocess.run(whole, capture_output=True, check=False).returncode == 0:
            found[name] = ctypes.CDLL(str(library)).helicon_step
    return found


def wanted(options: tuple[str, ...]) -> set[str]:
    """What a processor has to be capable of, as Linux calls it."""
    return {option[2:].replace("512bf16", "512_bf16") for option in options if not option.startswith("-mno")}
