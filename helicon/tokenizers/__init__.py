"""Media objects to local token ids `0 .. n-1` and back, with the grammar and coordinates of each id stream.

`encode` and `decode` are inverse on canonical ids; `decode` is total, so sampled nonsense is repaired, never a crash.
"""
