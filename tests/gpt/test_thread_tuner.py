"""As many threads as are fastest now: all on a quiet machine, one beside other work, all again after it."""

from __future__ import annotations

import pytest
import torch
from test_native import FRAME, ROWS, TOKENS, model, needs_compiler, prefilled

from helicon.gpt.native.step import NativeStep
from helicon.gpt.native.thread_tuner import ThreadTuner

QUIET = {4: 1.0, 2: 1.4, 1: 2.2}
BUSY = {4: 40.0, 2: 12.0, 1: 3.0}


def after(tuner: ThreadTuner, steps: int, seconds: dict[int, float]) -> float:
    """Seconds of so many steps."""
    total = 0.0
    for _ in range(steps):
        total += (took := seconds[tuner.threads])
        tuner.record(took)
    return total


def test_a_quiet_machine_is_used_whole():
    tuner = ThreadTuner(4)
    assert after(tuner, 900, QUIET) < 900 * 1.05
    assert tuner.threads == 4


def test_beside_other_work_one_thread_goes_on_and_all_come_back():
    tuner = ThreadTuner(4)
    after(tuner, 400, QUIET)
    assert after(tuner, 900, BUSY) < 900 * BUSY[1] * 1.5
    assert tuner.threads == 1
    after(tuner, 600, QUIET)
    assert after(tuner, 600, QUIET) < 600 * 1.1


def test_a_machine_that_is_busy_from_the_start_is_found_out():
    assert after(ThreadTuner(4), 900, BUSY) < 900 * BUSY[1] * 2


def test_threads_that_are_fast_between_stalls_are_found_out():
    tuner, seconds = ThreadTuner(2), 0.0
    for step in range(900):
        seconds += (took := 3.0 if tuner.threads == 1 else 50.0 if step % 7 == 0 else 0.5)
        tuner.record(took)
    assert seconds < 900 * 3.0 * 1.5


def test_a_slow_step_costs_a_few_with_fewer_threads():
    tuner = ThreadTuner(2)
    after(tuner, 200, {2: 1.0, 1: 1.8})
    assert tuner.threads == 2
    tuner.record(50.0)
    assert after(tuner, 200, {2: 1.0, 1: 1.8}) < 200 * 1.05


def test_one_thread_is_never_another_number():
    tuner = ThreadTuner(1)
    after(tuner, 100, {1: 1.0})
    assert tuner.threads == 1


@needs_compiler
@pytest.mark.usefixtures("one_thread")
@torch.inference_mode()
def test_a_step_takes_the_threads_of_its_tuner_and_tells_it_how_long_it_took():
    gpt = model()
    cache, inputs, _ = prefilled(gpt)
    step, seconds = NativeStep(gpt, cache, FRAME, 2), []
    whole = step(**inputs, vocab_slice=ROWS, kv_length=TOKENS)
    assert step._model.threads == 2
    step._tuner.threads = 1
    step._tuner.record = seconds.append
    assert torch.equal(step(**inputs, vocab_slice=ROWS, kv_length=TOKENS), whole)
    assert step._model.threads == 1
    assert len(seconds) == 1
    assert 0 < seconds[0] < 60
