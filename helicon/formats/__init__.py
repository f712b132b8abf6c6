"""Files to objects in memory and back: MIDI and scores, pictures, sound, plots, result pages.

Readers are lenient and report what they repaired; writers are atomic and deterministic (same object, same bytes).
"""
