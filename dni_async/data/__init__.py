"""Data sets in memory and streams, and the order in which their batches are drawn."""

from dni_async.data.catalog import DATASET_NAMES, load_dataset
from dni_async.data.dataset import Dataset
from dni_async.data.order import batch_order

__all__ = ["DATASET_NAMES", "Dataset", "batch_order", "load_dataset"]
