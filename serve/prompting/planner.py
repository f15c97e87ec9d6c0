"""Fits what an engine is to see into its context: pictures, turns, sources, and what was asked, cut short."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from ragkit.config import GenerationConfig
from ragkit.errors import ConfigError, ContextLengthError
from ragkit.pictures import rgb_on_white, scaled_down, size_within
from ragkit.protocols import Engine, PassageStore
from ragkit.records import AskRequest, ChatMessage, ChatRequest, Hit, ImageLimits
from ragkit.serve.prompting.evidence_style import EVIDENCE_RULES
from ragkit.serve.prompting.image_size import Size, check_images, latest_images
from ragkit.serve.prompting.order_choice import chosen_order, in_page_order
from ragkit.serve.prompting.own_text import shorten_own_text
from ragkit.serve.prompting.packing import Prompt, build_request
from ragkit.serve.prompting.prompt_pictures import Pictures, blank
from ragkit.serve.prompting.prompts import RULES, Layout
from ragkit.serve.prompting.reorder import Order
from ragkit.serve.prompting.shown_hits import PictureBudget, Shown, any_picture, show_pages, show_text
from ragkit.serve.prompting.text_cuts import largest_that_fits

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
class Plan:
    """As `RequestPlan`, before it is told by rank what was left out."""

    requests: tuple[ChatRequest, ...]
    notes: tuple[str, ...]
    order: Order = "rank"
    why: str = ""
    dropped: tuple[Hit, ...] = ()


class Planner:
    """As `plan_requests`, for hits that are worth showing.

    Raises:
        ConfigError, ImageInputError, ContextLengthError: as `plan_requests`.
    """

    def __init__(
        self,
        ask: AskRequest,
        engine: Engine,
        store: PassageStore,
        settings: GenerationConfig,
        reserved: int,
        without_sources: bool,
    ) -> None:
        self._engine, self._store, self._settings = engine, store, settings
        self._reserved, self._asks_anyway = reserved, without_sources
        self._limits = engine.image_limits or ImageLimits(0, 1)
        if engine.image_limits is None:
            check_images([ChatMessage("user", ask.question, ask.images)], None, engine.name)
        self._may_cut = True
        self._notes: list[str] = []
        history = tuple(map(self._scaled, ask.history))
        own = tuple(map(rgb_on_white, ask.images[: self._limits.max_images]))
        self._ask = replace(ask, history=history, images=own)
        if len(own) < len(ask.images):
            self._notes.append(
                _note_images(len(own), len(ask.images), f"{engine.name} reads no more (max_images)")
            )
        self._rules = EVIDENCE_RULES if settings.style == "evidence" else RULES

    def _scaled(self, message: ChatMessage) -> ChatMessage:
        images = (scaled_down(rgb_on_white(image), self._limits.max_pixels) for image in message.images)
        return replace(message, images=tuple(images))

    def plan(self, hits: Sequence[Hit]) -> Plan:
        """With an answer as long as was asked for, or else a shorter one, or else what was asked cut short."""
        given, context = self._ask, self._engine.context_tokens - self._reserved
        asked, half = given.sampling.max_tokens, max(1, context // 2)
        for length in sorted({asked, min(asked, half), min(asked, max(1, context // 4))}, reverse=True):
            # An answer's length is only a limit: no source is cut for more than half of the context.
            self._may_cut = length <= half
            self._ask = replace(given, sampling=replace(given.sampling, max_tokens=length + self._reserved))
            with suppress(ContextLengthError):
                return self._planned(hits)
        return self._cut_short(hits)

    def _cut_short(self, hits: Sequence[Hit]) -> Plan:
        whole, notes = self._ask, self._notes
        for number in range(len(whole.images), -1, -1):
            own = whole.images[:number]
            smallest = tuple(size_within(image.size, min(self._limits.max_pixels, _LEAST_PIXELS)) for image in own)
            layout = Layout(self._rules, images=blank(smallest))
            room = self._engine.context_tokens - whole.sampling.max_tokens
            with suppress(ContextLengthError):
                cut = shorten_own_text(whole.question, whole.history, self._engine, room, layout)
                self._ask = replace(whole, question=cut.question, history=cut.history, images=own)
                self._notes = [*notes, *cut.notes]
                if number < len(whole.images):
                    why = f"more do not fit into the context of {self._engine.name}"
                    self._notes.append(_note_images(number, len(whole.images), why))
                return self._planned(hits)
        return self._without_sources(hits)

    def _without_sources(self, hits: Sequence[Hit]) -> Plan:
        """Where the asker's words fit and no source does. Raises ContextLengthError where the words do not."""
        layout = Layout(self._rules)
        build_request(self._ask.question, (), self._engine, (), self._ask.sampling, layout)
        context = f"the {self._engine.context_tokens} tokens of {self._engine.name}"
        note = f"No source fits into {context} beside the question; index with a smaller passages.max_tokens."
        dropped = tuple(hit for hit in hits if hit.passage.text or hit.passage.image)
        return Plan((), (*self._notes, note), dropped=dropped)

    def _planned(self, hits: Sequence[Hit]) -> Plan:
        show = self._show(hits)
        shown = self._shown(hits, show)
        if show == "weighted-selection" and len(shown.pictures) > 1:
            plan = self._one_a_page(shown)
        elif not shown.hits and not self._asks_anyway:
            plan = Plan((), shown.notes)
        else:
            plan = self._one(hits, shown, show)
        return replace(plan, notes=(*self._notes, *plan.notes))

    def _one(self, hits: Sequence[Hit], shown: Shown, show: str) -> Plan:
        """One request, with the text of those pages whose pictures do not fit even at their smallest."""
        joined = show == "concatenation"
        order, why = chosen_order(self._settings, self._engine.name, len(shown.hits))

        def fitted(number: int | None) -> Plan:
            fewer = shown if number is None else self._shown(hits, show, number)
            prompt = self._fitted(in_page_order(fewer, order), order, joined=joined)
            return Plan((prompt.request,), (*fewer.notes, *prompt.notes), order, why, prompt.dropped)

        # Without any picture there may be nothing to show.
        least = 0 if not shown.pictures or self._shown(hits, show, 0).hits else 1
        return largest_that_fits([None, *range(len(shown.pictures) - 1, least - 1, -1)], fitted)

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

    def _one_a_page(self, shown: Shown) -> Plan:
        """A request for each picture, which asks for log-probabilities; what is shown as text is left out."""
        pages = zip(shown.hits, shown.pictures, strict=False)
        prompts = [self._fitted(Shown((hit,), (picture,))) for hit, picture in pages]
        requests = [replace(prompt.request, logprobs=True) for prompt in prompts]
        notes = dict.fromkeys(note for prompt in prompts for note in prompt.notes)
        others = shown.hits[len(shown.pictures) :]
        if others:
            note = f"Weighted selection asks pictures alone; sources of text that were left out: {len(others)}."
            notes[note] = None
        return Plan(tuple(requests), (*shown.notes, *notes), why="each page is asked alone", dropped=others)

    def _fitted(self, shown: Shown, order: Order = "rank", *, joined: bool = False) -> Prompt:
        """The prompt with images as large as the context lets all of them be.

        Raises:
            ContextLengthError: they do not fit at their smallest, or no source fits.
        """
        pictures = Pictures(shown.pictures, self._ask.images, joined)
        most = self._limits.max_pixels
        tries: dict[tuple[Size, ...], int] = {}
        for share in _SHARES:
            pixels = max(int(share * most), min(most, _LEAST_PIXELS))
            tries.setdefault(pictures.sizes(pixels), pixels)
        return largest_that_fits(
            list(tries), lambda sizes: self._prompt(shown, order, pictures, sizes, tries[sizes])
        )

    def _prompt(
        self, shown: Shown, order: Order, pictures: Pictures, sizes: tuple[Size, ...], pixels: int
    ) -> Prompt:
        """Tokens are counted on blank images: only those that are sent are scaled."""
        history, notes = self._history(self._limits.max_images - len(sizes))
        layout = Layout(self._rules, len(shown.pictures), pictures.joined, blank(sizes))
        ask = self._ask
        prompt = build_request(ask.question, shown.hits, self._engine, history, ask.sampling, layout, order)
        if shown.hits and not prompt.request.sources:
            raise ContextLengthError(f"no source fits into the context of {self._engine.name} beside the question")
        whole = set(map(id, shown.hits))
        if not self._may_cut and any(id(source.hit) not in whole for source in prompt.request.sources):
            raise ContextLengthError(f"a source does not fit whole into the context of {self._engine.name}")
        if sizes != pictures.sizes(self._limits.max_pixels):
            notes.append(f"Pictures were scaled down to {pixels} pixels each to fit the engine's context.")
        *before, last = prompt.request.messages
        messages = (*before, replace(last, images=pictures.scaled(pixels)))
        return replace(prompt, request=replace(prompt.request, messages=messages), notes=(*prompt.notes, *notes))

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


def _note_images(kept: int, given: int, why: str) -> str:
    return f"Of the question's {given} images the first {kept} were shown: {why}."
