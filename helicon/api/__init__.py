"""The library in a few calls, as the commands have them: `train` a folder into a run, `load` its model, `sample` media
from it, `save` them.

They are `helicon.train` and so on, imported when first used, so that `import helicon` does not load PyTorch, nor what
only uses a model Lightning.
"""
