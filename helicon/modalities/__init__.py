"""Modalities: for each medium its file suffixes, how files are read, written and previewed, and its tokenizers.

In come files, or text that a user types; out come media in memory with a report of repairs, and the tokenizers of each
slot, fitted to surveys of the media. Nothing here knows a GPT: `data` prepares training examples and `generation`
writes samples through this interface. The suffixes of pictures and sounds are in `formats/image.py` and
`formats/audio_kinds.py`. Open `base.py` first, the interface, then `text.py`, the shortest full medium;
`registry.py` finds modalities and tokenizers by name, and `guarded.py` calls tokenizers of plugins. A modality of your
own needs no change here: `helicon.register_modality` and `helicon.register_tokenizer` in a plugin add to the registry.
"""
