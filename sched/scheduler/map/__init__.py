"""How a work is split over cores and tiled to their memories, and the search for the best way."""
