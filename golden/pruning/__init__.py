"""What `PRUNE=` asks for: weights that become zero, and biases that set how many activations are zero."""
