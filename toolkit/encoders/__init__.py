"""Pretrained encoders of pictures and captions, one a file; found by file name."""
