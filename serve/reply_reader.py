"""A reply as it comes, read for its answer."""

from __future__ import annotations

from ragkit.records import Source
from ragkit.serve.grounding.marks import MarkFilter
from ragkit.serve.prompting.evidence_style import AnswerFilter, Evidence, parse_evidence


class ReplyReader:
    """Passes on the answer in pieces: without the parts before it, every mark written ``[n]``.

    The pieces joined are `text`, however the reply was cut. style: "plain", "evidence", or "verbatim" for a reply
    that stands as it was written, such as JSON, in which square brackets are no marks.
    """

    def __init__(self, sources: tuple[Source, ...], style: str) -> None:
        self.text = ""
        self._sources = sources
        self._marks = None if style == "verbatim" else MarkFilter(len(sources))
        self._answer = AnswerFilter() if style == "evidence" else None

    @property
    def unknown_marks(self) -> tuple[int, ...]:
        """Numbers that no source has, in the order they were met."""
        return self._marks.unknown if self._marks else ()

    def push(self, piece: str) -> str:
        """What can be passed on now that `piece` has come."""
        if self._marks is None:
            return self._pass(piece)
        return self._pass(self._marks.push(self._answer.push(piece) if self._answer else piece))

    def finish(self) -> str:
        """The rest, after the last piece."""
        if self._marks is None:
            return ""
        rest = self._marks.push(self._answer.finish()) if self._answer else ""
        return self._pass(rest + self._marks.finish())

    def evidence(self) -> tuple[tuple[Evidence, ...], list[str]]:
        """What the whole reply names as evidence, and notes on it or on why none could be read."""
        if self._answer is None:
            return (), []
        try:
            lines = parse_evidence(self._answer.raw, len(self._sources)).evidence
        except ValueError as error:
            return (), [f"The engine did not keep to the form of the evidence style ({error}); {self._instead()}"]
        return lines, [self._note(line) for line in lines if line.is_relevant]

    def _instead(self) -> str:
        """What was made of a reply that could not be read part by part."""
        assert self._answer is not None
        if self._answer.has_answer:
            return "its answer part alone was read."
        return f"it holds no answer part: {self._answer.raw!r}" if self._answer.has_tags else "read as plain text."

    def _note(self, line: Evidence) -> str:
        passage = self._sources[line.marker - 1].hit.passage
        return f"Evidence that the engine named in {passage.document} page {passage.page}: {line.text}"

    def _pass(self, piece: str) -> str:
        self.text += piece
        return piece
