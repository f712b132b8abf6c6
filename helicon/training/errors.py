"""What stops a training, told in one line."""


class TrainingError(RuntimeError):
    """The run cannot go on; the message says why and what helps."""
