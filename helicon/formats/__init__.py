"""File formats: MIDI and scores, pictures, sound, plots, result pages, JSON and weights.

Readers take a file and return an object in memory (`Score`, uint8 pixels, `Sound`, tensors) with a `ReadReport` that
counts repairs; writers take such an object and write a file. Readers are lenient with faults and strict about size;
writers are atomic and deterministic (same object, same bytes). Start with `score.py`, the music in memory, then
`midi.py`, `image.py` or `audio.py`, each the entry of one medium.

The HTML of result pages is in `templates/page.html` (its style in `page.css`), which `page.py` fills.
"""
