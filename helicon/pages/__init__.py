"""Result pages of trainings: what a model or a codec makes, its curves, its settings, and commands to go on with.

In: the folder of a run, its prepared data, and what the user asked for. Out: an HTML page beside the items and pictures
that it shows. The HTML itself is in `formats/templates/page.html`, which `formats/page.py` fills. Open `model_page.py`
first (models of any medium), then `codec_page.py` (reconstructions of image and audio codecs). Commands and demos call
this room; it trains nothing.
"""
