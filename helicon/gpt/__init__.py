"""GPT: a decoder-only transformer over one vocabulary, with dense or sparse causal attention.

In: token ids, ids into a table of coordinate embeddings, and the slice of the vocabulary that belongs to a slot. Out:
hidden states, logits of that slice, losses, and sampled tokens. Nothing here knows a medium: the room never sees a
tokenizer. Start with `model.py`, the network, and `layer.py`, one of its layers; then `stepping.py` (decoding with a KV
cache), `sampler.py` (logits to tokens), `attention/` (patterns and backends) and `native/` (the decode step in C).
"""
