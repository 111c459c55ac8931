"""A package of its own, since some libraries install a top-level `tests` too."""
