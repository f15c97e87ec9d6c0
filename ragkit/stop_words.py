"""The stop words that bm25s ships, without the rest of it: importing that loads SciPy and takes half a second."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any


def _stopwords() -> Any:
    """The module bm25s.stopwords, which holds words alone."""
    package = importlib.util.find_spec("bm25s")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("bm25s is not installed; it comes with: pip install ragkit", name="bm25s")
    file = Path(package.origin).with_name("stopwords.py")
    spec = importlib.util.spec_from_file_location("ragkit._bm25s_stopwords", file)
    assert spec is not None, "the name ends with .py"
    assert spec.loader is not None, "the name ends with .py"
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


stopwords = _stopwords()
