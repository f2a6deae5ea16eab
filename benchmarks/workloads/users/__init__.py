"""What users train: networks, losses and data that were not made for this project."""
