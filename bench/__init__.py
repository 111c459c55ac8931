"""What is faster than what: scripts that anyone can run."""
