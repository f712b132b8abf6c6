"""The contract between media and model: a vocabulary of named blocks, and layouts of slots that sequences are made of.

Nothing here knows a file, a tokenizer or a network; everything else derives its ids, offsets and grids from here.
"""
