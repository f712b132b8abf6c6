"""Sparse and dense causal attention: patterns, and the backends that run one over a sequence or a token at a time.

A pattern is one predicate (`AttentionPattern.mask_mod`); every backend is tested against the oracle that masks with it.
"""
