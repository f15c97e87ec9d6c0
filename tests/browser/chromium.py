"""Chromium for tests, where it and playwright are installed."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium_path() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


def why_not() -> str:
    """Why the tests cannot run here; "" where they can."""
    missing = [name for name in ("playwright", "axe_playwright_python") if not importlib.util.find_spec(name)]
    if missing:
        return f"not installed: {', '.join(missing)}"
    return "" if chromium_path() else f"no browser on the path: {', '.join(NAMES)}"


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless browser; it ends with the block, because while it runs no other event loop can."""
    from playwright.sync_api import sync_playwright

    # Chromium's own sandbox does not work as root.
    arguments = ["--no-sandbox"] if os.getuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=arguments)
        try:
            yield browser
        finally:
            browser.close()


def axe_violations(page: Any) -> list[str]:
    """What axe-core calls serious or critical."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        f"{item['id']}: {item['help']}: {[node['html'] for node in item['nodes']]}"
        for item in found
        if item["impact"] in ("serious", "critical")
    ]
