"""What the figures of a benchmark were measured on, and the median of repeated timings."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from statistics import median

import torch

from helicon.gpt.numbers import has_bf16


def describe() -> str:
    """One line: processor, cores, threads, GPU, versions, date."""
    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")] if (
        info.exists()
    ) else []  # fmt: skip
    bf16 = " with bf16" if has_bf16("cpu") else ""
    cpu = f"{names[0] if names else platform.processor() or platform.machine()}{bf16}"
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    threads = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"
    return f"{cpu}, {threads}, {gpu}, PyTorch {torch.__version__}, {date.today():%d %B %Y}"


def seconds(run: Callable[[], object], repeats: int = 5, warm_up: int = 1) -> float:
    """Median wall time of a call."""
    for _ in range(warm_up):
        run()
    return median(_once(run) for _ in range(repeats))


def side_by_side(runs: Mapping[str, Callable[[], object]], repeats: int = 5, warm_up: int = 1) -> dict[str, float]:
    """Median wall time of each, taken in turns, so that a busy minute strikes all alike."""
    for run in runs.values():
        for _ in range(warm_up):
            run()
    taken = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            taken[name].append(_once(run))
    return {name: median(times) for name, times in taken.items()}


def _once(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started
