"""The requests that a question and its hits make: one, or one a page whose answers are then weighed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ragkit.config import GenerationConfig
from ragkit.errors import ConfigError, ContextLengthError
from ragkit.pictures import rgb_on_white
from ragkit.protocols import Engine, PassageStore
from ragkit.records import AskRequest, ChatMessage, ChatRequest, Hit, ImageLimits
from ragkit.serve.prompting.evidence_style import EVIDENCE_RULES
from ragkit.serve.prompting.image_size import Size, check_images, latest_images, scaled_down, size_within
from ragkit.serve.prompting.page_concatenation import concatenate_horizontally, horizontal_sizes
from ragkit.serve.prompting.prompts import RULES, Layout, Prompt, build_request
from ragkit.serve.prompting.shown_hits import PictureBudget, Shown, any_picture, show_pages, show_text

if TYPE_CHECKING:
    from PIL.Image import Image

_ADVICE_ENGINE = (
    'the engine {name} reads text alone; one that reads images is [generation] engine = "openai" with max_images, '
    'or "transformers" with a vision-language model.'
)
_ADVICE_SHOW = 'the setting [generation] show = "auto" shows pictures to the engine.'
# Shares of the most pixels that are tried where the images do not fit into the context.
_SHARES = (1.0, 0.75, 0.5, 0.35, 0.25, 0.18, 0.12, 0.08, 0.05)
# A page of fewer cannot be read.
_LEAST_PIXELS = 100_000


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
        ContextLengthError: the question does not fit, or no source fits beside it.
    """
    return _Planner(ask, engine, store, settings).plan(hits)


class _Planner:
    def __init__(self, ask: AskRequest, engine: Engine, store: PassageStore, settings: GenerationConfig) -> None:
        self._engine, self._store, self._settings = engine, store, settings
        check_images([ChatMessage("user", ask.question, ask.images)], engine.image_limits, engine.name)
        self._limits = engine.image_limits or ImageLimits(0, 1)
        history = tuple(map(self._scaled, ask.history))
        self._ask = replace(ask, history=history, images=tuple(map(rgb_on_white, ask.images)))
        self._rules = EVIDENCE_RULES if settings.style == "evidence" else RULES

    def _scaled(self, message: ChatMessage) -> ChatMessage:
        images = (scaled_down(rgb_on_white(image), self._limits.max_pixels) for image in message.images)
        return replace(message, images=tuple(images))

    def plan(self, hits: Sequence[Hit]) -> RequestPlan:
        show = self._show(hits)
        shown = self._shown(hits, show)
        if show == "weighted-selection" and len(shown.pictures) > 1:
            return self._one_a_page(shown)
        if not shown.hits:
            return RequestPlan((), shown.notes)
        return self._one(hits, shown, show)

    def _one(self, hits: Sequence[Hit], shown: Shown, show: str) -> RequestPlan:
        """One request, with the text of those pages whose pictures do not fit even at their smallest."""
        while True:
            try:
                prompt = self._fitted(shown, joined=show == "concatenation")
            except ContextLengthError:
                fewer = self._shown(hits, show, len(shown.pictures) - 1) if shown.pictures else shown
                if fewer is shown or not fewer.hits:
                    raise
                shown = fewer
            else:
                return RequestPlan((prompt.request,), (*shown.notes, *prompt.notes))

    def _show(self, hits: Sequence[Hit]) -> str:
        """What the settings say; "auto" becomes "text" where there are no pictures, or no eyes for them."""
        show, limits = self._settings.show, self._engine.image_limits
        if show == "auto":
            return "auto" if limits is not None and any_picture(hits, self._store) else "text"
        if show != "text" and limits is None:
            raise ConfigError(f"generation.show = {show!r}, but {_ADVICE_ENGINE.format(name=self._engine.name)}")
        return show

    def _shown(self, hits: Sequence[Hit], show: str, fitting: int | None = None) -> Shown:
        """fitting: pictures that fit into the context, where that is known."""
        limits = self._engine.image_limits
        if show == "text" or limits is None:
            advice = _ADVICE_ENGINE.format(name=self._engine.name) if limits is None else _ADVICE_SHOW
            return show_text(hits, self._store, advice)
        left = limits.max_images - len(self._ask.images)
        # Joined or asked one by one, all pages take the place of one image.
        takes_one = show in ("concatenation", "weighted-selection") and left > 0
        most = self._settings.num_pages if takes_one else left
        budget = PictureBudget(self._settings.num_pages, most, limits.max_pixels)
        if fitting is not None:
            budget = replace(budget, max_images=fitting, limit="context_tokens")
        return show_pages(hits, self._store, budget, with_text=show == "auto")

    def _one_a_page(self, shown: Shown) -> RequestPlan:
        """A request for each picture, which asks for log-probabilities; what is shown as text is left out."""
        pages = zip(shown.hits, shown.pictures, strict=False)
        prompts = [self._fitted(Shown((hit,), (picture,))) for hit, picture in pages]
        requests = [replace(prompt.request, logprobs=True) for prompt in prompts]
        notes = dict.fromkeys(note for prompt in prompts for note in prompt.notes)
        others = len(shown.hits) - len(shown.pictures)
        if others:
            notes[f"Weighted selection asks pictures alone; sources of text that were left out: {others}."] = None
        return RequestPlan(tuple(requests), (*shown.notes, *notes))

    def _fitted(self, shown: Shown, *, joined: bool = False) -> Prompt:
        """The prompt with images as large as the context lets all of them be.

        Raises:
            ContextLengthError: they do not fit at their smallest, or no source fits.
        """
        pictures = _Pictures(shown.pictures, self._ask.images, joined)
        most = self._limits.max_pixels
        tries: dict[tuple[Size, ...], int] = {}
        for share in _SHARES:
            pixels = max(int(share * most), min(most, _LEAST_PIXELS))
            tries.setdefault(pictures.sizes(pixels), pixels)
        *larger, least = tries.items()
        for sizes, pixels in larger:
            with suppress(ContextLengthError):
                return self._prompt(shown, pictures, sizes, pixels)
        return self._prompt(shown, pictures, *least)

    def _prompt(self, shown: Shown, pictures: _Pictures, sizes: tuple[Size, ...], pixels: int) -> Prompt:
        """Tokens are counted on blank images: only those that are sent are scaled."""
        history, notes = self._history(self._limits.max_images - len(sizes))
        layout = Layout(self._rules, len(shown.pictures), pictures.joined, _blank(sizes))
        ask = self._ask
        prompt = build_request(ask.question, shown.hits, self._engine, history, ask.sampling, layout)
        if shown.hits and not prompt.request.sources:
            raise ContextLengthError(
                f"no source fits into the {self._engine.context_tokens} tokens of {self._engine.name} beside the "
                f"question and an answer of {ask.sampling.max_tokens}: set a smaller max_tokens, or index with a "
                "smaller passages.max_tokens"
            )
        if sizes != pictures.sizes(self._limits.max_pixels):
            notes.append(f"Pictures were scaled down to {pixels} pixels each to fit the engine's context.")
        *before, last = prompt.request.messages
        messages = (*before, replace(last, images=pictures.scaled(pixels)))
        return Prompt(replace(prompt.request, messages=messages), (*prompt.notes, *notes))

    def _history(self, most: int) -> tuple[list[ChatMessage], list[str]]:
        """With its last images, as many as the engine takes beside those of this request."""
        kept = latest_images(self._ask.history, most)
        dropped = sum(len(message.images) for message in self._ask.history) - sum(len(m.images) for m in kept)
        images = "image of an earlier turn was" if dropped == 1 else "images of earlier turns were"
        note = (
            f"{dropped} {images} left out: the engine {self._engine.name} takes at most {self._limits.max_images} "
            "in a request (max_images)."
        )
        return kept, [note] if dropped else []


@dataclass(frozen=True, slots=True)
class _Pictures:
    """The images of a request: pages, joined to one or not, then the question's own."""

    pages: tuple[Image, ...]
    own: tuple[Image, ...]
    joined: bool

    def sizes(self, pixels: int) -> tuple[Size, ...]:
        """What `scaled` would give."""
        pages = [page.size for page in self.pages]
        if self.joined and pages:
            joined = horizontal_sizes(pages, pixels)
            pages = [(sum(width for width, _ in joined), joined[0][1])]
        return tuple(size_within(size, pixels) for size in [*pages, *(image.size for image in self.own)])

    def scaled(self, pixels: int) -> tuple[Image, ...]:
        """With at most so many pixels each."""
        joins = self.joined and self.pages
        pages = [concatenate_horizontally(self.pages, pixels)] if joins else self.pages
        return tuple(scaled_down(image, pixels) for image in [*pages, *self.own])


def _blank(sizes: Sequence[Size]) -> tuple[Image, ...]:
    from PIL.Image import new

    return tuple(new("RGB", size) for size in sizes)
