"""Pure measures of pictures, in numpy: for quality control, evaluation and detectors."""
