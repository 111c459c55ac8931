"""A selection written for other programs: what every form shares, and pushing the result."""
