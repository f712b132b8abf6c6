"""A run on disk: folder and config, checkpoints, metrics and progress, and what a stranger's run may ask for."""
