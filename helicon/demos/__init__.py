"""Demos: made-up worlds of music, pictures and sounds on which a tiny model trains in minutes.

A demo takes a folder and a number of minutes; it writes media and captions by rule, trains a model on them, samples,
checks the samples against their captions, and writes `index.html` and `report.json`. Start with `world.py`, the stages
of every demo, then `music.py`, or `captioned.py` for the worlds with captions (`pictures.py`, `sound.py`).
"""
