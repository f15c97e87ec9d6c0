"""Processors of models that read pictures and videos, loaded for their pictures alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ragkit.extras import require

_loading = threading.RLock()


@contextmanager
def without_video() -> Iterator[None]:
    """Inside the block transformers loads processors without their part for videos, where torchvision is absent.

    That part needs torchvision, which ragkit does not; transformers loads all parts of a processor or none.
    """
    if require("transformers.utils").is_torchvision_available():
        yield
        return
    mixin = require("transformers.processing_utils").ProcessorMixin
    original = mixin.__dict__["get_attributes"]

    def parts(cls: Any) -> list[str]:
        return [part for part in original.__func__(cls) if part != "video_processor"]

    with _loading:
        mixin.get_attributes = classmethod(parts)
        try:
            yield
        finally:
            mixin.get_attributes = original
