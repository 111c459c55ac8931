"""Evaluation: scores per sample, with intervals, and reports. Import as `from eval.x import y`."""
