"""The walk-through, run as it is written."""
