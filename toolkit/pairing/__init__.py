"""Which content is painted in which style: candidates from queries, balanced draws, the plan."""
