"""A real browser for tests: Chromium without a window, the system's or playwright's own."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

# This name leads to this machine, as a name does whose owner lets it point to 127.0.0.1.
REBOUND = "rebound.test"


@contextmanager
def chromium() -> Iterator["Browser"]:  # noqa: F821 - playwright may not be installed
    """A browser that has nothing but the tests' pages; skips the test where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    flags = [f"--host-resolver-rules=MAP {REBOUND} 127.0.0.1"]
    if os.geteuid() == 0:
        flags.append("--no-sandbox")  # which root cannot have
    with playwright.sync_playwright() as start:
        try:
            browser = start.chromium.launch(executable_path=found, args=flags)
        except playwright.Error as error:
            pytest.skip(f"no Chromium ({str(error).splitlines()[0]}): playwright install chromium")
        yield browser
        browser.close()
