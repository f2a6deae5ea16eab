"""Which of all that is said to the coordinator is believed: by whom, when, and how much. No I/O."""
