"""SDXL on pixels."""
