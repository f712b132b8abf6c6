"""One binding per medium: its file suffixes, how to read, write and preview it, and the tokenizers it can use.

A modality of your own registers through the entry-point group `helicon.modalities` or `helicon.modalities.register`.
"""
