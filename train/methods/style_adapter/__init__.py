"""Reference-style transfer: a PixArt-class transformer with a gated style adapter."""
