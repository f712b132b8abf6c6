"""FlexAttention against the oracle: forward on the CPU, where it has no backward; both on a card."""

from __future__ import annotations

import pytest
import torch
from attention_cases import ROW, compare, every_pattern, inputs

from helicon.gpt.attention import flex
from helicon.gpt.attention.attend import attend_dense
from helicon.gpt.attention.masks import sequence_mask
from helicon.gpt.attention.patterns import parse_pattern
from helicon.sequence.layout import PatternContext

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile"),
]


def attend_flex(q, k, v, pattern, frame):
    return flex.attend_flex(q, k, v, pattern.resolve(frame.row), frame.prefix)


@every_pattern
@pytest.mark.parametrize(("prefix", "slot"), [(0, 45), (0, 128), (5, 150)])
@torch.no_grad()
def test_forward_is_the_oracle_at_ragged_lengths(pattern, prefix, slot):
    q, k, v, _ = (x.detach() for x in inputs(prefix + slot))
    expected = attend_dense(q, k, v, pattern, PatternContext(prefix, ROW))
    out = attend_flex(q, k, v, pattern, PatternContext(prefix, ROW))
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=0)


@every_pattern
def test_blocks_are_skipped_only_where_nothing_is_seen_and_unmasked_only_where_everything_is(pattern):
    length, resolved = 2 * flex.BLOCK, pattern.resolve(ROW)
    mask = flex.block_mask(resolved, 5, length, torch.device("cpu"))
    index = torch.arange(length)
    seen = sequence_mask(resolved, 5, index[:, None], index).unflatten(0, (2, -1)).unflatten(2, (2, -1))
    assert torch.equal(mask.to_dense()[0, 0].bool(), seen.any(3).any(1))
    assert mask.full_kv_num_blocks is not None
    assert mask.full_kv_num_blocks[0, 0].tolist() == seen.all(3).all(1).sum(1).tolist()


@pytest.mark.parametrize(("spec", "blocks"), [("local:128", 7), ("block:128", 4), ("dense", 10), ("column:128", 10)])
def test_what_is_computed_follows_the_pattern_where_its_blocks_do(spec, blocks):
    mask = flex.block_mask(parse_pattern(spec).resolve(None), 0, 4 * flex.BLOCK, torch.device("cpu"))
    assert mask.to_dense().sum() == blocks


def test_a_block_mask_is_made_but_once_for_lengths_of_as_many_blocks():
    first, second = (inputs(length)[0].detach() for length in (130, 200))
    pattern, misses = parse_pattern("strided:9"), []
    for q in (first, second):
        with torch.no_grad():
            attend_flex(q, q, q, pattern, PatternContext(2))
        misses.append(flex.block_mask.cache_info().misses)
    assert misses[0] == misses[1]


@torch.no_grad()
@pytest.mark.parametrize("spec", ["strided:8", "conv:3"])
def test_the_predicate_can_be_compiled(spec):
    """As far as tracing goes; code for a device is only made of it on one."""
    q, k, v, _ = (x.detach() for x in inputs(128))
    mask = flex.block_mask(parse_pattern(spec).resolve(ROW), 5, 128, torch.device("cpu"))
    traced = torch.compile(flex.flex_attention, backend="eager", fullgraph=True, dynamic=False)
    expected = attend_dense(q, k, v, parse_pattern(spec), PatternContext(5, ROW))
    torch.testing.assert_close(traced(q, k, v, block_mask=mask), expected, atol=1e-5, rtol=0)


def test_what_its_kernels_take():
    made = [(torch.zeros(1, 1, 4, width, dtype=dtype, requires_grad=True)) for dtype, width in [
        (torch.bfloat16, 16), (torch.float32, 128), (torch.float64, 64), (torch.float32, 8), (torch.bfloat16, 256)
    ]]  # fmt: skip
    assert [flex.supports(q) for q in made] == [True, True, False, False, False]
    assert not flex.supports(made[0].detach())  # compiling is worth it in training alone


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@every_pattern
@pytest.mark.parametrize("prefix", [0, 5])
@pytest.mark.parametrize(
    ("dtype", "forward", "backward"), [(torch.float32, 2e-3, 2e-2), (torch.bfloat16, 0.05, 0.2)], ids=["fp32", "bf16"]
)
def test_forward_and_backward_on_a_gpu(pattern, prefix, dtype, forward, backward):
    """Float32 by tensor cores, as Triton does, is no more exact than this."""
    tensors = inputs(prefix + 150, dtype, "cuda")
    compare(attend_flex, pattern, PatternContext(prefix, ROW), tensors, forward, backward)
