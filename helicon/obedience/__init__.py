"""Whether generated music is what was asked for: its sounds, its tempo as it is heard, and whom it sounds like."""
