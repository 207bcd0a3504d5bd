"""Fingerprint of the hardware's sources, by which figures measured on it are known to be of other hardware."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import rtl
from tb.model.build import HDL_DIR
from tb.model.cache import content_key

__all__ = ["hardware_fingerprint"]

_TEXT = ("contract/page.py",)
"""Files of `rtl` that no hardware comes from."""
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)


@cache
def hardware_fingerprint() -> str:
    """Digest of what every chip comes from: the sources in `rtl`, and the external memory of the bench.

    Comments, docstrings and the form of the text do not count.
    """
    root = Path(rtl.__path__[0])
    files = sorted(path for path in root.rglob("*") if path.suffix in {".py", ".v"})
    files = [path for path in files if str(path.relative_to(root)) not in _TEXT]
    files += sorted(path for path in HDL_DIR.iterdir() if "memory" in path.name)
    return content_key([_bare(path) for path in files])[:16]


def _bare(path: Path) -> str:
    """What of a source file counts."""
    text = path.read_text()
    if path.suffix != ".py":
        return " ".join(_COMMENT.sub(" ", text).split())
    tree = ast.parse(text)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [each for each in body if not _is_text(each)]
            node.body = kept or [ast.Pass()]  # type: ignore[attr-defined]  # every node with a list of statements
    return ast.unparse(tree)


def _is_text(node: ast.AST) -> bool:
    """A docstring, of whatever it may be."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
