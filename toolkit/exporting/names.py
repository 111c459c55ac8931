"""Names of files and folders, and values of cells, that every system and program takes."""

import json
import re
import unicodedata
from typing import Any

_MAX_BYTES = 120
_SPLIT_WORDS = {"train", "training", "val", "valid", "validation", "dev", "test", "testing", "eval",
                "evaluation"}  # fmt: skip
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)


def safe_name(text: str) -> str:
    """A label as a folder's name: letters of any script, digits, `_`, `-` and `.`; at most 120
    bytes; neither hidden, nor reserved on Windows, nor a word that readers take for a split."""
    clean = re.sub(r"[^\w.-]+", "_", unicodedata.normalize("NFC", text)).strip("._-")
    clean = clean.encode()[:_MAX_BYTES].decode(errors="ignore").rstrip(".") or "_"
    # `test_x` would be taken for a split
    clean = re.sub(r"[^\W\d_]+", lambda found: _no_split(found[0]), clean)
    return f"{clean}_" if _RESERVED.fullmatch(clean.partition(".")[0]) else clean


def _no_split(word: str) -> str:
    return f"{word}Style" if word.casefold() in _SPLIT_WORDS else word


def safe_split(split: str) -> str:
    """A split's name in file names: a-z, 0-9 and _."""
    return re.sub(r"[^a-z0-9_]+", "_", split.lower()).strip("_") or "train"


def to_text(value: Any) -> str:
    """A value as a cell of text: nothing for null, JSON for lists and structs."""
    if value is None:
        return ""
    if isinstance(value, (list, dict, bool)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)
