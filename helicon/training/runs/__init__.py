"""Run folders on disk: config, checkpoints, metrics and progress, and checks of a run that came from somebody else.

In come a folder and Lightning's callbacks; out come `config.yaml`, `checkpoints/*.ckpt`, `metrics.csv` and
`progress.csv`, and the readers of these. Readers trust nothing: a run may come from a stranger, so sizes are bounded
and no file can run code. Open `folders.py` first, then `checkpoints.py` (PyTorch's format, checked by
`checkpoint_zip.py` and `checkpoint_pickle.py`) and `trust.py` with `claims.py`, the checks of a config.
"""
