"""What stays on the chip between layers: the operations of a network, where their tensors may stay, the best choice."""
