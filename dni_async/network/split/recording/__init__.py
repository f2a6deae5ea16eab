"""Write down what a module's forward does, by running it."""
