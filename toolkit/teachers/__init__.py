"""Teachers that make style-transfer targets, one file each."""
