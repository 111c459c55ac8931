"""The gallery's page: for one self-contained file, or in parts for a server."""

import json
from importlib.resources import files
from typing import Any

# What a page that holds everything may load: nothing from anywhere.
_INLINE_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
)
MARK = '<meta name="generator" content="Tessera gallery">'
"""What a page begins with that holds everything."""


def part(name: str) -> str:
    """The text of gallery.html, gallery.css or gallery.js."""
    return files("toolkit.inspection").joinpath("page", name).read_text("utf-8")


def served_page() -> str:
    """The page for a server that also has gallery.css and gallery.js."""
    return _filled(
        '<link rel="stylesheet" href="gallery.css">', '<script src="gallery.js"></script>'
    )


def whole_page(data: dict[str, Any]) -> str:
    """A page that needs no other file. data: `about` and `cards`, as gallery.js takes them."""
    policy = f'<meta http-equiv="Content-Security-Policy" content="{_INLINE_POLICY}">'
    # inside a script element only "</" and "<!" could end or change it
    text = json.dumps(data, ensure_ascii=False, default=str, allow_nan=False).replace(
        "<", "\\u003c"
    )
    return _filled(
        f"{MARK}{policy}<style>{part('gallery.css')}</style>",
        f'<script type="application/json" id="data">{text}</script>'
        f"<script>{part('gallery.js')}</script>",
    )


def _filled(head: str, body: str) -> str:
    page, _, rest = part("gallery.html").partition("<!-- head -->")
    middle, _, end = rest.partition("<!-- body -->")
    return "".join((page, head, middle, body, end))
