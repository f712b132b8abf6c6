"""Causal attention under dense and sparse patterns, over whole sequences or one token at a time.

In: queries, keys, values, a pattern such as `local:128`, and the prefix length and grid width of a layout. Out:
attended values. A pattern is one predicate (`AttentionPattern.mask_mod`); every backend is tested against
`attend_dense`, which masks with that predicate. Start with `attend.py`, the three entry points, then `pattern_base.py`
and `stride_patterns.py`; `selection.py` chooses among the backends of `backends.py`. A new pattern is a class like
those of `stride_patterns.py`, registered in `patterns.py` or by a plugin.
"""
