"""Learned tokenizers' networks (VQ-VAE, dVAE, FSQ): media tensors to codes of a grid, and back.

Nothing here knows a file, a tokenizer or a GPT; `tokenizers.codes` wraps any codec, `training` teaches one.
"""
