"""Pretrained encoders of pictures and captions, one a file; found by file name."""

import pkgutil

_OTHER_FILES = frozenset({
    "alone", "api", "device", "inventory", "loading", "lpips_network", "overflow", "pixels",
})  # fmt: skip


def encoders() -> list[str]:
    """Names of all encoders."""
    names = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name for name in names if name not in _OTHER_FILES)
