"""Error of a training that cannot go on."""


class TrainingError(RuntimeError):
    """Error that stops a run; the message says why and what helps, in one line."""
