"""Low-rank adapters as files: read, written, merged, resized. See `python -m train.lora`."""
