"""Bring media that are elsewhere, behind URLs or in stores of objects, to a folder of the cache, each once.

`local_path` (`local.py`, open it first) returns a place as a path that the other packages read like any other. Nothing
here reads a medium: `places.py` says what a place may be, `remote.py` what a server's answers mean, `download.py` goes
on where a transfer broke off, `record.py` says what is complete.
"""
