"""From a mapped work to bytes: the order of its steps, its instructions, its images of weights and parameters."""
