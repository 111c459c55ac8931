"""What `toolkit.doctor` looks at: the environment, the machine, weights and packed data."""
