"""The tiny VisRAG-Ret of tests/golden/visrag_ret as a checkpoint folder, and its pages."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ragkit.records import PageImage, Passage

GOLDEN = Path(__file__).parents[2] / "golden" / "visrag_ret"


def read(name: str) -> Any:
    return json.loads((GOLDEN / name).read_text("utf-8"))


def array(folder: str, name: str) -> NDArray[Any]:
    with np.load(GOLDEN / "expected" / folder / f"{name}.npz") as file:
        return file["arr_0"]


def copy_checkpoint(folder: Path) -> Path:
    """Model and tokenizer side by side, as the hub has them."""
    for part in ("model", "tokenizer"):
        shutil.copytree(GOLDEN / part, folder, dirs_exist_ok=True)
    return folder


def page(name: str) -> Image.Image:
    with Image.open(GOLDEN / "images" / f"{name}.png") as image:
        return image.convert("RGB")


def picture(image: Image.Image, number: int = 1) -> Passage:
    shown = PageImage("doc", number, *image.size, lambda: image)
    return Passage(-1, "doc", number, 0, 0, "", image=shown)
