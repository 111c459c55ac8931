"""What looks at pictures, one extractor a file: `eval/features/<name>.py` exports
`open_extractor(weights, device)`, see `eval/features/api.py`."""
