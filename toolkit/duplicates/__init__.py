"""Pictures that are copies of each other: found, grouped, reported."""
