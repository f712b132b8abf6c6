"""One GPT for every medium: files become token sequences, a GPT learns them, and what it samples becomes files again."""

__version__ = "0.1.0"
