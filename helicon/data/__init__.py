"""From a folder of files to batches: scan, tokenise on all cores into memory-mapped shards, cut windows, pack batches.

Batch t is a function of (data, seed, t) alone, whatever the number of workers or processes.
"""
