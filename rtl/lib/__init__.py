"""Building blocks that know nothing of the chip: queues, RAMs, masks, emission of a module once."""
