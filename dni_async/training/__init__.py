"""What a caller in Python has of a run: how it is begun, followed and what came of it."""

from dni_async.training.call import load, train
from dni_async.training.callbacks import Callback, RunView
from dni_async.training.result import TrainingResult

__all__ = ["Callback", "RunView", "TrainingResult", "load", "train"]
