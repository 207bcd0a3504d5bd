"""The report of runs as a page: one file, which needs no network. `page` puts it together, `charts` are its figures."""
