"""One binding per medium: its file suffixes, how to read, write and preview it, and the tokenizers it can use.

A modality of your own is one more, `helicon.register_modality` in a plugin; so is a tokenizer for a medium of these.
"""
