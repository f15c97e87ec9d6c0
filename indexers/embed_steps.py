"""How many passages are embedded between two reports of progress."""

from __future__ import annotations

_FEWEST = 32
# Enough to sort by length.
_MOST = 256
_SHORT_S = 1.5
_LONG_S = 4.0


class EmbedSteps:
    """Begins with few passages; takes more where the embedder is fast, so that a step lasts seconds at most.

    size: of the next step.
    """

    def __init__(self) -> None:
        self.size = _FEWEST

    def took(self, seconds: float, count: int) -> None:
        """A step is done; that a short one of fewer passages than `size` was fast says nothing of the next."""
        if seconds > _LONG_S:
            self.size = max(_FEWEST, self.size // 2)
        elif seconds < _SHORT_S and count == self.size:
            self.size = min(_MOST, self.size * 2)
