"""A small text-to-image model from nothing, in the hub's layout."""
