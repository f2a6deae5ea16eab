"""From an assignment to a stage that may begin."""
