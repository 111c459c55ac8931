"""Work on the machines of a Ray cluster: the same work and the same bytes as on one."""
