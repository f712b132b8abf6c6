"""Library: functions that mirror the commands, such as `train`, `load`, `sample`, `evaluate`, `save`.

They are `helicon.train` and so on, imported when first used: `import helicon` does not load PyTorch, and using a model
does not load Lightning. In come folders, models and options; out come models, lists of results and paths. Arguments are
checked against their annotations. Open `using.py` first (models in use), then `training.py` and `models.py` (on disk).
"""
