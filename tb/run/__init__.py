"""One run: from a network and a chip to launches, simulated by several processes, compared and kept."""
