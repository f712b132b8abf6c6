"""Every offset derives from the declared blocks."""

from __future__ import annotations

import pytest

from helicon.sequence.vocabulary import TokenBlock, Vocabulary

# rows: 0 jazz, 1 folk, 2 stop; 3 C, 4 D, 5 E, 6 stop
STYLE, NOTES = TokenBlock("style", ("jazz", "folk")), TokenBlock("notes", ("C", "D", "E"))
VOCABULARY = Vocabulary((STYLE, NOTES))


def test_blocks_lie_end_to_end_each_with_its_stop():
    assert len(VOCABULARY) == 7
    assert VOCABULARY.slice("style") == slice(0, 3)
    assert VOCABULARY.slice("notes") == slice(3, 7)
    assert (VOCABULARY.eos("style"), VOCABULARY.eos("notes")) == (2, 6)
    assert VOCABULARY.block("notes").index == {"C": 0, "D": 1, "E": 2}


def test_names_are_unique():
    with pytest.raises(ValueError, match="block 'notes' names a token twice: C"):
        TokenBlock("notes", ("C", "D", "C"))
    with pytest.raises(ValueError, match="block names must differ"):
        Vocabulary((STYLE, STYLE))
    with pytest.raises(KeyError, match="no block 'note'; the vocabulary has style, notes"):
        VOCABULARY.slice("note")


def test_the_fingerprint_tells_every_change():
    changed = [
        Vocabulary((NOTES, STYLE)),
        Vocabulary((STYLE, TokenBlock("notes", ("C", "E", "D")))),
        Vocabulary((STYLE, TokenBlock("note", ("C", "D", "E")))),
        Vocabulary((TokenBlock("style", ("jazz", "folk", "C")), TokenBlock("notes", ("D", "E")))),
    ]
    assert len({v.fingerprint for v in [VOCABULARY, *changed]}) == 5
    assert Vocabulary((STYLE, NOTES)).fingerprint == VOCABULARY.fingerprint


def test_rows_are_matched_by_name():
    grown = Vocabulary(
        (TokenBlock("notes", ("B", "C", "D", "E")), TokenBlock("style", ("folk", "blues")), TokenBlock("new", ("x",)))
    )
    # B C D E stop folk blues stop x stop
    assert sorted(grown.rows_from(VOCABULARY)) == [(1, 3), (2, 4), (3, 5), (4, 6), (5, 1), (7, 2)]
