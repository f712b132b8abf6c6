"""Tokenizers: media objects to local token ids `0 .. n-1` and back, with the grammar and coordinates of each id stream.

In come media as `formats` reads them (scores, pictures, sounds, texts, labels); out come int64 ids [T] of one block,
and from ids the media again. `encode` and `decode` are inverse on canonical ids; `decode` is total, so that sampled
nonsense is repaired, never a crash. `sequencer.py` packs the ids of all slots into what the GPT is fed. Open `base.py`
first (`Tokenizer` and `Automaton`), then `text.py` as the simplest tokenizer and `midi.py` with `music_grammar.py` as
the richest.
"""
