"""What ours is held against: the arms of a training run, and what they are made of."""
