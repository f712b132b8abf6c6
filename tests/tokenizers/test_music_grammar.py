"""The grammar: any weights give canonical pieces without hanging notes, of exactly the length that was asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from music_worlds import SAMPLE, TABLES, random_score, scores

from helicon.tokenizers.instruments import MUSENET
from helicon.tokenizers.midi import MidiTokenizer
from helicon.tokenizers.music_grammar import MusicAutomaton

pytestmark = pytest.mark.usefixtures("one_thread")

TOKENIZERS = {name: MidiTokenizer(table) for name, table in TABLES.items()}
musenet = TOKENIZERS["musenet"]
STOP = len(musenet.block)


def walk(automaton: MusicAutomaton, state, generator, steps: int, kinds: bool) -> list[list[int]]:
    """Ids of each row, sampled among what is allowed; -1 at the end where `eos` came.

    kinds: note-ons, note-offs, waits and stop are equally likely, so that walks are not all note-ons.
    """
    table = automaton.table
    kind = np.append(np.where(table.wait > 0, 2, np.where(table.volume > 0, 0, 1)), 3)
    of_kind = torch.nn.functional.one_hot(torch.from_numpy(kind)).double()
    rows: list[list[int]] = [[] for _ in state["time"]]
    done = [False] * len(rows)
    for _ in range(steps):
        allowed = automaton.allowed(state)
        assert allowed.any(1).all()
        weights = allowed.double()
        if kinds:
            weights = weights * ((1 / (weights @ of_kind).clamp(min=1)) @ of_kind.T)
        ids = torch.multinomial(weights, 1, generator=generator)[:, 0]
        for i, token in enumerate(ids.tolist()):
            if not done[i]:
                done[i] = token == len(table.tokens)
                rows[i].append(-1 if done[i] else token)
        if all(done):
            break
        state = automaton.step(state, ids)
    return rows


def finished(tokenizer: MidiTokenizer, row: list[int]) -> np.ndarray:
    """Ids of a walk that came to `eos`, checked: canonical, with nothing left sounding."""
    assert row[-1] == -1
    ids = np.array(row[:-1])
    assert tokenizer.to_words(tokenizer.encode(tokenizer.decode(ids))) == tokenizer.to_words(ids)
    return ids


def seconds_of(tokenizer: MidiTokenizer, ids: np.ndarray) -> float:
    return tokenizer.table.wait[ids].sum() / 100


@pytest.mark.parametrize("kinds", [False, True])
@pytest.mark.parametrize("name", sorted(TABLES))
def test_there_is_always_something_allowed(name, kinds):
    automaton = TOKENIZERS[name].automaton
    rows = walk(automaton, automaton.start(8), torch.Generator().manual_seed(3), 400, kinds)
    for row in rows:
        if row[-1] == -1:
            finished(TOKENIZERS[name], row)


wishes = st.fixed_dictionaries(
    {},
    optional={
        "seconds": st.sampled_from([0.01, 0.02, 0.03, 0.2, 1.28, 1.29, 5.0, 61.0, 130.0]),
        "instruments": st.sampled_from([["piano"], ["drums"], ["piano", "drums"], ["strings"]]),
    },
)


@given(st.sampled_from(sorted(TABLES)), wishes, st.integers(0, 2**31), st.booleans())
@settings(max_examples=30, deadline=None)
def test_any_weights_give_what_was_asked_for(name, wish, seed, kinds):
    tokenizer = TOKENIZERS[name]
    automaton = tokenizer.automaton
    state = automaton.constrain(automaton.start(3), tokens=60, **wish)
    rows = walk(automaton, state, torch.Generator().manual_seed(seed), 61, kinds)
    for row in rows:
        ids = finished(tokenizer, row)
        assert 0 < len(ids) <= 60
        if "instruments" in wish:
            played = {tokenizer.table.instruments[i] for i in tokenizer.table.instrument[ids] if i >= 0}
            assert all({row.name, row.group} & set(wish["instruments"]) for row in played)
        if wish.get("seconds", 0) > 0 and len(ids) < 40:
            assert seconds_of(tokenizer, ids) == wish["seconds"]


@pytest.mark.parametrize("instruments", [["piano"], ["drums"], ["violin", "drums"]])
@pytest.mark.parametrize("seconds", [0.01, 0.5, 3.0])
def test_a_piece_lasts_exactly_as_long_as_was_asked_for(seconds, instruments):
    automaton = musenet.automaton
    state = automaton.constrain(automaton.start(4), seconds=seconds, instruments=instruments)
    for row in walk(automaton, state, torch.Generator().manual_seed(5), 4000, kinds=True):
        ids = finished(musenet, row)
        assert seconds_of(musenet, ids) == seconds
        # A drum at the very end rings for one unit.
        assert musenet.decode(ids).seconds == pytest.approx(seconds, abs=0.0101 if "drums" in instruments else 1e-9)


@pytest.mark.parametrize("tokens", range(3, 12))
def test_notes_are_closed_before_tokens_run_out(tokens):
    automaton = musenet.automaton
    state = automaton.constrain(automaton.start(24), tokens=tokens)
    for row in walk(automaton, state, torch.Generator().manual_seed(tokens), tokens + 1, kinds=True):
        assert 0 < len(finished(musenet, row)) <= tokens


@given(scores, st.integers(0, 40), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_a_piece_goes_on_from_a_prime(score, cut, seed):
    automaton, prime = musenet.automaton, musenet.encode(score)[:cut]
    state = automaton.start(1)
    for token in prime:
        state = automaton.step(state, torch.tensor([token]))
    held = int(state["sounding"].sum())
    state = automaton.constrain(state, tokens=held + 30, seconds=1.0, instruments=["piano"])
    row = [*prime.tolist(), *walk(automaton, state, torch.Generator().manual_seed(seed), held + 31, kinds=True)[0]]
    ids = np.array(row[:-1])
    while len(ids) and musenet.table.wait[ids[-1]]:  # a prime cut after a wait may end there
        ids = ids[:-1]
    finished(musenet, [*ids.tolist(), row[-1]])


@given(st.sampled_from(sorted(TABLES)), scores)
@settings(max_examples=40, deadline=None)
def test_every_canonical_piece_is_within_the_grammar(name, score):
    tokenizer = TOKENIZERS[name]
    automaton, state = tokenizer.automaton, tokenizer.automaton.start(1)
    ids = tokenizer.encode(score)
    for token in [*ids.tolist(), len(tokenizer.block)] if len(ids) else []:
        assert automaton.allowed(state)[0, token], tokenizer.block.tokens[token]
        state = automaton.step(state, torch.tensor([token]))


@given(st.sampled_from(sorted(TABLES)), scores, st.booleans())
@settings(max_examples=40, deadline=None)
def test_scan_equals_stepping(name, score, plan):
    tokenizer = TOKENIZERS[name]
    automaton, ids = tokenizer.automaton, tokenizer.encode(score)
    scanned = automaton.scan(ids, plan)
    state = automaton.start(1)
    if plan and len(ids) and seconds_of(tokenizer, ids) > 0:
        state = automaton.constrain(state, seconds=seconds_of(tokenizer, ids))
    for t, token in enumerate(ids):
        state = automaton.step(state, torch.tensor([token]))
        if plan and seconds_of(tokenizer, ids) == 0:
            continue
        assert {axis: int(value) for axis, value in automaton.coords(state).items()} == {
            axis: int(values[t]) for axis, values in scanned.items()
        }


def test_coordinates_of_the_published_sample():
    ids = musenet.from_words(SAMPLE.split()[4:])
    coords = musenet.automaton.scan(ids)
    assert coords["chord"][:12].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 0, 1]
    assert coords["time"][[7, 8, 10]].tolist() == [0, 12, 17]
    assert coords["part"][[0, -1]].tolist() == [1, 128]
    assert coords["countdown"][[0, -1]].tolist() == [1 + 85 // 25, 1]
    assert not musenet.automaton.scan(ids, plan=False)["part"].any()


def test_positions_are_relative_clipped_and_the_same_for_tensors():
    automaton = musenet.automaton
    coords = {
        "time": np.array([100, 117, 10**6]), "chord": np.array([0, 3, 99]), "part": np.array([0, 1, 128]),
        "countdown": np.array([0, 5, 128]),
    }  # fmt: skip
    origin = {name: values.dtype.type(0) for name, values in coords.items()} | {"time": np.int64(100)}
    rows = automaton.position(coords, origin)
    assert rows["time"].tolist() == [0, 1, 1023]
    assert rows["tick"].tolist() == [0, 1, (10**6 - 100) % 16]
    assert rows["chord"].tolist() == [0, 3, 31]
    tensors = automaton.position(
        {k: torch.from_numpy(v) for k, v in coords.items()}, origin | {"time": torch.tensor(100)}
    )
    assert all(rows[axis].tolist() == tensors[axis].tolist() for axis in automaton.axes)


def test_stop_changes_nothing_and_nonsense_is_taken():
    automaton = musenet.automaton
    state = automaton.step(automaton.start(2), torch.tensor([60 + 7 * 128, 3968 + 4]))
    after = automaton.step(state, torch.tensor([STOP, STOP]))
    assert all(torch.equal(state[name], after[name]) for name in state)
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        state = automaton.step(state, torch.randint(0, STOP + 1, (2,), generator=generator))
        assert automaton.allowed(state).any(1).all()


def test_rules_one_by_one():
    automaton = musenet.automaton

    def allowed_after(words: str) -> set[str]:
        state = automaton.start(1)
        for token in musenet.from_words(words.split()):
            state = automaton.step(state, torch.tensor([token]))
        names = (*musenet.block.tokens, "stop")
        return {names[i] for i in automaton.allowed(state)[0].nonzero()[:, 0].tolist()}

    assert "stop" not in allowed_after("")
    assert not {"stop", "piano:v0:C4"} & allowed_after("piano:v80:C4")
    assert not {"piano:v80:B4", "drums:v80:C2", "violin:v80:C4"} & allowed_after("piano:v80:C4")
    assert {"piano:v80:C#4", "wait:1", "wait:128"} <= allowed_after("piano:v80:C4")
    assert not {"wait:1", "stop"} & allowed_after("piano:v80:C4 wait:5")
    assert {"piano:v0:C4", "piano:v24:C4"} <= allowed_after("piano:v80:C4 wait:5")
    assert "wait:1" in allowed_after("piano:v80:C4 wait:128")
    assert {"stop", "wait:9"} <= allowed_after("piano:v80:C4 wait:5 piano:v0:C4")
    minute = "piano:v80:C4" + " wait:128" * 46
    assert {"wait:112"} <= allowed_after(minute)
    assert "wait:113" not in allowed_after(minute)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"seconds": 0}, "seconds must be"),
        ({"seconds": float("nan")}, "seconds must be"),
        ({"tokens": -1}, "tokens must be"),
        ({"instruments": []}, "at least one"),
        ({"instruments": ["pino"]}, "'pino'; nearest: piano"),
    ],
)
def test_wishes_that_cannot_be_are_refused(wish, message):
    with pytest.raises(ValueError, match=message):
        musenet.automaton.constrain(musenet.automaton.start(1), **wish)


def test_a_long_piece_scans_as_it_steps():
    ids = musenet.encode(random_score(np.random.default_rng(2), 150))
    automaton, state = musenet.automaton, musenet.automaton.start(1)
    scanned = automaton.scan(ids, plan=False)
    for t, token in enumerate(ids):
        state = automaton.step(state, torch.tensor([token]))
        assert int(automaton.coords(state)["chord"]) == scanned["chord"][t]
    assert MUSENET.wait[ids].sum() == int(state["time"])
