"""What is run and measured."""
