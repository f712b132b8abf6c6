"""Every way to run every pattern against the oracle, on the CPU, on a pretended card and on a real one."""

from __future__ import annotations

import pytest
import torch
from attention_cases import ROW, compare, every_pattern, every_prefix, inputs

from helicon.gpt.attention import kernels, selection
from helicon.gpt.attention.attend import attend, attend_cached, attend_dense
from helicon.gpt.attention.backends import BACKENDS, tiling
from helicon.gpt.attention.patterns import PATTERNS, parse_pattern
from helicon.gpt.attention.selection import Timing, TimingKey, TimingTable, select_backend
from helicon.gpt.cache import Positions
from helicon.sequence.layout import PatternContext

pytestmark = pytest.mark.usefixtures("one_thread")


def by(name: str):
    """`attend`, going that way."""

    def attention(q, k, v, pattern, frame):
        return BACKENDS[name].attend(q, k, v, pattern.resolve(frame.row), frame.prefix)

    return attention


@every_pattern
@every_prefix
@pytest.mark.parametrize("slot", [1, 8, 45])
def test_ways_that_take_anything_are_exact_in_float64(pattern, prefix, slot):
    tensors = inputs(prefix + slot, torch.float64)
    for way in ("lse_merged", "masked", "matmul"):
        compare(by(way), pattern, PatternContext(prefix, ROW), tensors, forward=1e-13, backward=1e-12)


@pytest.mark.parametrize("spec", ["block:8", "column:8", "previous:8", "block"])
@pytest.mark.parametrize("slot", [5, 8, 45, 48])
def test_folds_apart_are_exact_in_float64(spec, slot):
    tensors = inputs(slot, torch.float64)
    compare(by("disjoint"), parse_pattern(spec), PatternContext(0, ROW), tensors, forward=1e-13, backward=1e-12)


@every_pattern
@every_prefix
def test_causal_folds_are_square_for_kernels_differ_elsewhere(pattern, prefix):
    for tile in tiling(pattern.resolve(ROW), prefix, prefix + 45).tiles:
        assert not tile.causal or tile.queries.rows == tile.keys.rows


@every_pattern
def test_nothing_has_to_be_merged_where_no_query_is_in_two_tiles(pattern):
    alone = str(pattern) in ("dense", "block:8", "previous:8", "column:8", "block", "column")
    assert tiling(pattern.resolve(ROW), 0, 45).disjoint == alone
    assert not tiling(pattern.resolve(ROW), 5, 50).disjoint  # all that follows sees the prefix too


with_and_without_prefix = pytest.mark.parametrize("prefix", [0, 5])


@every_pattern
@with_and_without_prefix
@pytest.mark.parametrize(
    ("dtype", "forward", "backward"), [(torch.float32, 1e-5, 1e-4), (torch.bfloat16, 0.03, 0.15)], ids=["fp32", "bf16"]
)
def test_every_way_on_a_card(card, pattern, prefix, dtype, forward, backward):
    tensors = inputs(prefix + 45, dtype, "cuda")
    ways = [
        way for way in BACKENDS if way != "flex" and BACKENDS[way].supports(tensors[0], pattern.resolve(ROW), prefix)
    ]
    assert {"lse_merged", "masked", "matmul"} <= set(ways)
    if card.real and dtype == torch.float32:  # whose tensor cores round
        forward, backward = 2e-3, 2e-2
    for way in ways:
        compare(by(way), pattern, PatternContext(prefix, ROW), tensors, forward, backward)


@every_pattern
@with_and_without_prefix
def test_attention_is_exact_in_float64_on_a_card(card, pattern, prefix):
    q, k, v, grad = inputs(prefix + 45, torch.float64, "cuda")
    compare(attend, pattern, PatternContext(prefix, ROW), (q, k, v, grad), forward=1e-12, backward=1e-11)
    position_B = torch.tensor([prefix + 44, 3], device="cuda")
    rows = torch.arange(2, device="cuda"), slice(None), position_B
    out = attend_cached(
        q[rows], k.contiguous(), v.contiguous(), Positions.of(position_B), pattern, PatternContext(prefix, ROW)
    )
    torch.testing.assert_close(
        out, attend_dense(q, k, v, pattern, PatternContext(prefix, ROW))[rows], atol=1e-12, rtol=0
    )


def test_masks_are_built_but_once(card):
    q, k, v, _ = inputs(60, torch.bfloat16, "cuda")
    for way in ("lse_merged", "masked", "matmul"):
        for _ in range(2):
            before = kernels._bias.cache_info().misses, tiling.cache_info().misses
            by(way)(q, k, v, parse_pattern("strided:8"), PatternContext())
        assert (kernels._bias.cache_info().misses, tiling.cache_info().misses) == before


@torch.inference_mode()
def test_what_generating_saw_first_can_be_trained_with():
    pattern = parse_pattern("strided:7")
    q, k, v, _ = inputs(31)
    for way in ("lse_merged", "masked", "matmul"):
        by(way)(q.clone(), k.clone(), v.clone(), pattern, PatternContext())
        with torch.inference_mode(False):
            compare(by(way), pattern, PatternContext(), inputs(31), forward=1e-5, backward=1e-4)


def queries(tokens: int, width: int = 16, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    return torch.zeros(1, 1, tokens, width, dtype=dtype, device="cuda", requires_grad=True)


@pytest.mark.parametrize(
    ("spec", "prefix", "tokens", "way"),
    [
        ("block:128", 0, 1024, "disjoint"), ("column:128", 0, 65536, "disjoint"), ("previous:128", 0, 5000, "disjoint"),
        ("block:128", 7, 1024, "masked"), ("strided:128", 0, 4096, "masked"), ("strided:128", 0, 4097, "matmul"),
        ("block:1", 0, 65536, "matmul"),  # more blocks than a kernel's grid has places for
    ],
)  # fmt: skip
def test_unmeasured_the_way_is_one_that_is_certain(monkeypatch, card, spec, prefix, tokens, way):
    monkeypatch.setattr(selection, "cuda_table", lambda: TimingTable(None, ()))
    assert select_backend(parse_pattern(spec).resolve(None), prefix, queries(tokens)) == way


def test_measured_the_fastest_that_supports_the_queries_is_chosen(monkeypatch, card):
    bf16, fp32 = TimingKey("strided", False, "bfloat16"), TimingKey("strided", False, "float32")
    rows = (
        Timing(bf16, 1024, {"masked": 1.0, "lse_merged": 2.0, "matmul": 3.0}),
        Timing(bf16, 16384, {"lse_merged": 4.0, "flex": 5.0, "matmul": 90.0}),
        Timing(fp32, 1024, {"flex": 1.0, "matmul": 2.0}),
    )
    monkeypatch.setattr(selection, "cuda_table", lambda: TimingTable("a card", rows))
    strided = parse_pattern("strided:128").resolve(None)
    assert select_backend(strided, 0, queries(1024)) == "masked"
    assert select_backend(strided, 0, queries(1500)) == "masked"
    assert select_backend(strided, 0, queries(9000)) == "lse_merged"
    assert select_backend(strided, 0, queries(9000, width=12)) == "matmul"  # no kernel has such rows
    assert select_backend(strided, 0, queries(9000, width=36)) == "flex"
    assert select_backend(strided, 0, queries(9000, width=36).detach()) == "matmul"  # nothing is compiled to generate
    assert select_backend(strided, 0, queries(1024, dtype=torch.float16)) == "masked"
    assert select_backend(strided, 0, queries(1024, dtype=torch.float32)) == "flex"
    assert select_backend(strided, 0, queries(1024, dtype=torch.float64)) == "matmul"
    assert select_backend(strided, 9, queries(1024)) == "masked"  # of prefixes nothing is known


def test_the_table_can_be_read_back(tmp_path):
    row = Timing(TimingKey("local", True, "bfloat16"), 4096, {"lse_merged": 1.25, "flex": 0.5})
    for table in (TimingTable("a card, a day", (row, row)), TimingTable(None, ())):
        table.write(tmp_path / "table.json")
        assert TimingTable.read(tmp_path / "table.json") == table


def test_the_table_of_the_package_names_what_there_is():
    table = selection.cuda_table()
    assert (table.measured_on is None) == (not table.rows)
    for row in table.rows:
        assert row.key.pattern in PATTERNS
        assert row.key.dtype in ("bfloat16", "float32")
        assert set(row.ms) <= set(BACKENDS)


@pytest.mark.parametrize("capability", [(7, 5), (8, 0)])
def test_the_kernel_follows_the_numbers_the_mask_and_the_card(monkeypatch, card, capability):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
    plain, masked = tiling(parse_pattern("local:8").resolve(None), 0, 16).tiles
    flash = kernels.CUDA_FLASH if capability >= (8, 0) else kernels.CUDA_EFFICIENT
    assert kernels.kernel_for(queries(16), plain) == flash
    assert kernels.kernel_for(queries(16, dtype=torch.float16), plain) == flash
    assert kernels.kernel_for(queries(16), masked) == kernels.CUDA_EFFICIENT
    assert kernels.kernel_for(queries(16, dtype=torch.float32), plain) == kernels.CUDA_EFFICIENT
    assert kernels.kernel_for(queries(16, width=256), plain) == kernels.CUDA_EFFICIENT
    assert kernels.kernel_for(queries(16).cpu(), plain) == kernels.CPU_PRODUCTS
    assert kernels.kernel_for(queries(16, dtype=torch.float32).cpu(), plain) == kernels.CPU_FLASH
