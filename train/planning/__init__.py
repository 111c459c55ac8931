"""The memory of a run, told from its configuration."""
