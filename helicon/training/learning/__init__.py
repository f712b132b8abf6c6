"""Lightning's side of a training: modules, data modules, optimizers, sharding and callbacks.

Open `base.py` first: it is the LightningModule that all trainings share, with the learning-rate schedule. Then
`module.py`, the one of a GPT, and `data.py`, its data module.

In come the configs of model and data, and a Trainer; out come optimizer steps, validations, checkpoints and the bundle
of the best weights. Optimizers are in `optimizers.py`; the callbacks of a run in `keeping.py` (checkpoints and
bundle), `showing.py` (progress line and samples), `validating.py`, `epochs.py` and `averaging.py`. `restoring.py`
checks a checkpoint before it is loaded; `sharding.py` and `fsdp2.py` split a model over GPUs.
"""
