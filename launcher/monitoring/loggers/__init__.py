"""Loggers of other people, which a run tells of itself: MLflow, Weights & Biases."""
