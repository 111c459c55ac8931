"""Pure tensor code that methods share. Imports torch and nothing else."""
