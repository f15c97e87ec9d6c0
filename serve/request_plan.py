"""The requests that a question and its hits make: one, or one a page whose answers are then weighed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ragkit.config import GenerationConfig
from ragkit.errors import ConfigError
from ragkit.protocols import Engine, PassageStore
from ragkit.records import AskRequest, ChatMessage, ChatRequest, Hit
from ragkit.serve.evidence_style import EVIDENCE_RULES
from ragkit.serve.image_size import check_images, scaled_down
from ragkit.serve.prompts import RULES, Layout, Prompt, build_request
from ragkit.serve.shown_hits import PictureBudget, Shown, any_picture, show_pages, show_text

_ADVICE_ENGINE = (
    'the engine {name} reads text alone; one that reads images is [generation] engine = "openai" with max_images, '
    'or "transformers" with a vision-language model.'
)
_ADVICE_SHOW = 'the setting [generation] show = "auto" shows pictures to the engine.'
# Shares of the most pixels that are tried where the pictures do not fit into the context.
_SHARES = (1.0, 0.75, 0.5, 0.35, 0.25)
_LEAST_PIXELS = 300_000


@dataclass(frozen=True, slots=True)
class RequestPlan:
    """requests: none where there is nothing to show, several for weighted selection. notes: of all of them."""

    requests: tuple[ChatRequest, ...]
    notes: tuple[str, ...]


def plan_requests(
    ask: AskRequest, hits: Sequence[Hit], engine: Engine, store: PassageStore, settings: GenerationConfig
) -> RequestPlan:
    """Choose what of the hits the engine sees, by the settings' show and style, and fit it into its context.

    Raises:
        ConfigError: pictures are to be shown and the engine reads none.
        ImageInputError: the asker's own images are more than the engine reads.
        ContextLengthError: not even the question fits.
    """
    return _Planner(ask, engine, store, settings).plan(hits)


class _Planner:
    def __init__(self, ask: AskRequest, engine: Engine, store: PassageStore, settings: GenerationConfig) -> None:
        self._engine, self._store, self._settings = engine, store, settings
        own = [*ask.history, ChatMessage("user", ask.question, ask.images)]
        check_images(own, engine.image_limits, engine.name)
        self._num_own = sum(len(message.images) for message in own)
        self._ask = replace(ask, history=tuple(map(self._scaled, ask.history)))
        self._rules = EVIDENCE_RULES if settings.style == "evidence" else RULES

    def _scaled(self, message: ChatMessage) -> ChatMessage:
        limits = self._engine.image_limits
        if limits is None or not message.images:
            return message
        return replace(message, images=tuple(scaled_down(image, limits.max_pixels) for image in message.images))

    def plan(self, hits: Sequence[Hit]) -> RequestPlan:
        show = self._show(hits)
        shown = self._shown(hits, show)
        if show == "weighted-selection" and len(shown.pictures) > 1:
            return self._one_a_page(shown)
        if not shown.hits:
            return RequestPlan((), shown.notes)
        prompt = self._fitted(shown, joined=show == "concatenation")
        requests = (prompt.request,) if prompt.request.sources else ()
        return RequestPlan(requests, (*shown.notes, *prompt.notes))

    def _show(self, hits: Sequence[Hit]) -> str:
        """What the settings say; "auto" becomes "text" where there are no pictures, or no eyes for them."""
        show, limits = self._settings.show, self._engine.image_limits
        if show == "auto":
            return "auto" if limits is not None and any_picture(hits, self._store) else "text"
        if show != "text" and limits is None:
            raise ConfigError(f"generation.show = {show!r}, but {_ADVICE_ENGINE.format(name=self._engine.name)}")
        return show

    def _shown(self, hits: Sequence[Hit], show: str) -> Shown:
        limits = self._engine.image_limits
        if show == "text" or limits is None:
            advice = _ADVICE_ENGINE.format(name=self._engine.name) if limits is None else _ADVICE_SHOW
            return show_text(hits, self._store, advice)
        left = limits.max_images - self._num_own
        # Joined or asked one by one, all pages take the place of one image.
        takes_one = show in ("concatenation", "weighted-selection") and left > 0
        most = self._settings.num_pages if takes_one else left
        budget = PictureBudget(self._settings.num_pages, most, limits.max_pixels)
        return show_pages(hits, self._store, budget, with_text=show == "auto")

    def _one_a_page(self, shown: Shown) -> RequestPlan:
        """A request for each picture, which asks for log-probabilities; what is shown as text is left out."""
        prompts = [
            self._fitted(Shown((shown.hits[marker - 1],), {1: picture}))
            for marker, picture in shown.pictures.items()
        ]
        requests = [replace(prompt.request, logprobs=True) for prompt in prompts if prompt.request.sources]
        notes = dict.fromkeys(note for prompt in prompts for note in prompt.notes)
        others = len(shown.hits) - len(shown.pictures)
        if others:
            notes[f"Weighted selection asks pictures alone; {others} passages of text were left out."] = None
        return RequestPlan(tuple(requests), (*shown.notes, *notes))

    def _fitted(self, shown: Shown, *, joined: bool = False) -> Prompt:
        """The prompt with pictures as large as the context lets all of them be."""
        limits = self._engine.image_limits
        most = limits.max_pixels if limits else 0
        shares = [share for share in _SHARES if share * most >= _LEAST_PIXELS] if shown.pictures else []
        for share in shares or [1.0]:
            layout = Layout(self._rules, shown.pictures, joined, int(share * most), self._ask.images)
            prompt = build_request(
                self._ask.question, shown.hits, self._engine, self._ask.history, self._ask.sampling, layout
            )
            if set(shown.pictures) <= {source.marker for source in prompt.request.sources}:
                break
        if share == 1:
            return prompt
        note = f"Pictures were scaled down to {layout.max_pixels} pixels each to fit the engine's context."
        return replace(prompt, notes=(*prompt.notes, note))
