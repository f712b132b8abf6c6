"""The contract between media and model: a vocabulary of named blocks, and layouts of slots that sequences consist of.

In come layout specs such as `text[32] style[3] music` and the token block of each slot; out come a `Schema`, its
`Vocabulary`, and every offset, position and table size that the tokenizers and the GPT use. Nothing here knows a file,
a tokenizer or a network. Open `layout.py` first (`Layout` and `Schema`), then `vocabulary.py`.
"""
