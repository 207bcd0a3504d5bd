"""A layer as one kind of core sees it: what it multiplies, where its input comes from."""
