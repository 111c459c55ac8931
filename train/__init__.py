"""Training: one loop, the parts that methods share, and one folder per method."""
