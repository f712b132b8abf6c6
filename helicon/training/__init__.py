"""Training by Lightning: modules, data modules, callbacks and optimizers. The only room that imports Lightning.

In come a request (task, folder, minutes) or the options of `helicon fit`; out comes a run folder with checkpoints,
metrics and a bundle. `stages.py` splits a request into trainings in order, `plan.py` and `codec_plan.py` choose the
config of one, and `run.py` trains it. Below: `settings/` the options, `learning/` the GPT's modules, `codecs/` those of
codecs, `runs/` the files of a run. Open `run.py` first, then `learning/module.py`.
"""

from helicon.formats.figures import import_matplotlib

import_matplotlib()  # before torchmetrics, which Lightning imports, does
