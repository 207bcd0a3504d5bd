"""A headless Chromium without network that opens a page and says what a script finds in it."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

__all__ = ["look", "needs_browser"]

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome")
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1500,1000", "--virtual-time-budget=20000",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)  # fmt: skip
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)

needs_browser = pytest.mark.skipif(BROWSER is None, reason=f"none of {', '.join(NAMES)} is installed")

_WATCH = """<script>
const complaints = [];
for (const kind of ["error", "warn"]) console[kind] = (...words) => complaints.push(words.join(" "));
addEventListener("error", (event) => complaints.push(event.message));
addEventListener("unhandledrejection", (event) => complaints.push(String(event.reason)));
</script>"""
_TELL = """<script>
addEventListener("load", async () => {
  let found;
  try { found = await (async () => { %s })(); } catch (error) { complaints.push(String(error)); }
  const requests = performance.getEntriesByType("resource").map((entry) => entry.name);
  const answer = document.createElement("pre");
  answer.id = "answer";
  answer.textContent = JSON.stringify({ found, complaints, requests });
  document.body.append(answer);
});
</script>"""


def look(page: Path, script: str, folder: Path) -> Any:
    """What the body of an asynchronous function in JavaScript returns once the page is loaded.

    The page must complain of nothing and ask for no other file.

    Parameters
    ----------
    folder : Path
        Where a copy of the page may lie.
    """
    text = page.read_text()
    assert text.count("<head>") == text.count("</body>") == 1
    copy = folder / f"watched-{page.name}"
    copy.write_text(text.replace("<head>", f"<head>{_WATCH}").replace("</body>", f"{_TELL % script}</body>"))
    assert BROWSER is not None
    command = [BROWSER, *OPTIONS, f"--user-data-dir={folder / 'profile'}", "--dump-dom", copy.as_uri()]
    dom = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout
    answers = re.findall(r'<pre id="answer">(.*?)</pre>', dom, re.DOTALL)
    assert answers, "the page never came to its end"
    answer = json.loads(html.unescape(answers[-1]))
    assert answer["complaints"] == []
    assert answer["requests"] == []
    return answer["found"]
