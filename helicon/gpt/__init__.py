"""The decoder-only transformer: attention patterns, their executions, the model, its cache and the sampler.

It sees ids, coordinates and slices of a vocabulary; it never sees a medium.
"""
