"""Tests; a package, so that another distribution's top-level `tests` in site-packages is never taken for it."""
