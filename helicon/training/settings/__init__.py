"""Settings of a training: config dataclasses, typed options and their checks, model sizes, and the train request.

In come the words of a command line and presets; out come typed configs, and refusals in one line of options that are
unknown to a task or would have no effect. Nothing here trains or writes. Open `config.py` first (the option groups,
whose docstrings are the `--help` texts), then `request.py`, what `helicon train` is asked for, and `sizes.py`.
"""
