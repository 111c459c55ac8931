"""Who may ask the viewer: a browser of this machine, for a page that the viewer itself has sent.

Listening on the loopback address keeps other machines out, not other web pages. A page from
anywhere can send the browser here; a name that its owner lets point to 127.0.0.1 (DNS rebinding)
even makes the answer readable. So the host that is asked for must be the loopback address by one of
its own names, and a request that says it comes from another site is refused.
"""

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

_NAMES = ("127.0.0.1", "localhost", "[::1]")
_OWN_SITES = ("same-origin", "none")  # none: typed, or a bookmark

# What the page may do: show what this server has, and nothing else.
SAFE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; script-src 'self'; "
    "style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}


def refusal(headers: Mapping[str, str]) -> str | None:
    """Why a request is refused, or None. headers: by lower-case names. The port may be another one
    than the server's own, as behind `ssh -L`."""
    host = headers.get("host", "").lower()
    if re.sub(r":\d{1,5}$", "", host) not in _NAMES:
        return f"this server is not called {host or 'nothing'}: ask for 127.0.0.1"
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != host:
        return f"pages of {origin} may not ask this server"
    is_visit = headers.get("sec-fetch-dest") == "document"  # a link followed; nobody else reads it
    if headers.get("sec-fetch-site", "none") not in _OWN_SITES and not is_visit:
        return "pages of other sites may not ask this server"
    return None
