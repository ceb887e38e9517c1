"""Pages in a real browser that knows no name on the network."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium-headless-shell", "chrome-headless-shell", "chromium", "chromium-browser", "google-chrome")

ERRORS = """
<script>
const problems = [], note = text => problems.push(String(text));
addEventListener("error", event => note(event.message));
addEventListener("unhandledrejection", event => note(event.reason));
document.addEventListener("securitypolicyviolation", event => note(event.violatedDirective + " " + event.blockedURI));
for (const kind of ["error", "warn"]) console[kind] = (...words) => note(words.join(" "));
</script>
"""
"""A script for a page's head that collects in `problems` what goes wrong on it."""


def browser_path() -> str:
    """The browser; the test is skipped without one."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed; on Debian: apt-get install {BROWSERS[0]}")
    return path


def page_after_scripts(path: Path, hash_: str = "") -> str:
    """The page after its scripts."""
    command = [
        browser_path(),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--use-angle=swiftshader",
        "--enable-unsafe-swiftshader",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={path.parent / 'profile'}",
        "--virtual-time-budget=10000",
        "--dump-dom",
        path.as_uri() + hash_,
    ]
    return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120, check=True).stdout


def probe(html: str, script: str, path: Path) -> dict[str, Any]:
    """What a script at the end of a page has written as JSON into an element `out`."""
    head, body, end = html.replace("<style>", ERRORS + "<style>", 1).rpartition("</body>")  # the viewer names it, too
    path.write_text(head + script + body + end, encoding="utf-8")
    (text,) = re.findall(r'<pre id="out">(.*?)</pre>', page_after_scripts(path), re.DOTALL)
    return dict(json.loads(unescape(text)))
