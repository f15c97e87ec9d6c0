"""Answers as the objects of OpenAI's responses API, built as plain JSON; tests hold them against its types."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel

from ragkit.records import Answer, Hit, Passage, TokenLogprob, ToolCall, Usage
from ragkit.serve.api import wire
from ragkit.serve.pages.page_links import PageLinks
from ragkit.serve.responses.file_search import SearchPlan
from ragkit.serve.responses.found_files import FoundFile, FoundFiles
from ragkit.serve.responses.responses_request import ResponsesBody, Wishes

# Of the page that a picture shows.
_MOST_TEXT = 8000
_SAID_AGAIN = ("max_tool_calls", "prompt_cache_key", "safety_identifier", "user")


def new_id(prefix: str) -> str:
    """An id that nobody can guess."""
    return f"{prefix}_{uuid.uuid4().hex}"


@dataclass(frozen=True, slots=True)
class ResponseMaker:
    """Makes one response's objects."""

    body: ResponsesBody
    wishes: Wishes
    plan: SearchPlan
    links: PageLinks
    files: FoundFiles
    id: str
    created: int

    def response(self, status: str, output: Sequence[dict[str, Any]] = (), **fields: Any) -> dict[str, Any]:
        """The response as a whole, with the request's settings; fields: those that come with its status."""
        body, sampling = self.body, self.wishes.sampling
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": None,
            "instructions": body.instructions,
            "max_output_tokens": body.max_output_tokens,
            "metadata": body.metadata or {},
            "model": self.plan.model,
            "output": list(output),
            "parallel_tool_calls": body.parallel_tool_calls is not False,
            "previous_response_id": body.previous_response_id,
            "reasoning": {"effort": None, "summary": None} | _given(body.reasoning),
            "store": body.store is not False,
            "temperature": sampling.temperature,
            "text": {"format": {"type": "text"}} | _given(body.text),
            "tool_choice": _choice(body.tool_choice),
            "tools": [_tool(tool) for tool in body.tools or []],
            "top_logprobs": body.top_logprobs or 0,
            "top_p": 1.0 if sampling.top_p is None else sampling.top_p,
            # There is one tier, whichever was asked for.
            "service_tier": None if body.service_tier is None else "default",
            "truncation": body.truncation or "disabled",
            "usage": None,
            **{name: getattr(body, name) for name in _SAID_AGAIN},
            **fields,
        }

    def finished(self, answer: Answer, output: Sequence[dict[str, Any]], completed: float) -> dict[str, Any]:
        """The response that an answer makes; `ragkit` is the answer's record. completed: seconds since 1970."""
        reason = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(answer.finish_reason)
        record = wire.answer_json(answer, self.plan.corpora[0].name, self.links)
        if self.wishes.unheeded:
            names = ", ".join(self.wishes.unheeded)
            record["notes"] = [*record["notes"], f"The server does not heed all settings: {names} had no effect."]
        fields = {"usage": _usage(answer.usage), "ragkit": record}
        if reason is not None:
            return self.response("incomplete", output, **fields, incomplete_details={"reason": reason})
        return self.response("completed", output, **fields, completed_at=completed)

    def search_call(self, id_: str, status: str, query: str, hits: Sequence[Hit] | None = None) -> dict[str, Any]:
        """The search as an output item; its results are there only if they were asked for. It reads the store."""
        shown = None if hits is None or not self.wishes.with_results else self._results(hits)
        return {"id": id_, "type": "file_search_call", "status": status, "queries": [query], "results": shown}

    def annotations(self, answer: Answer, sent: str) -> list[dict[str, Any]]:
        """For each citation a file_citation and a url_citation; places are characters of the text `sent`."""
        places = wire.places_in(answer, sent)
        files = self._files([citation.document for citation in answer.citations])
        found: list[dict[str, Any]] = []
        for citation in answer.citations:
            place = self.plan.place(citation.document)
            own = replace(citation, document=place.document)
            start, end = places[citation.start], places[citation.end]
            if file := files.get(citation.document):
                found.append({"type": "file_citation", "file_id": file.id, "filename": file.name, "index": end})
            found.append(
                {
                    "type": "url_citation",
                    "start_index": start,
                    "end_index": end,
                    "title": f"{file.name if file else place.document}, page {citation.page}",
                    "url": wire.citation_url(own, place.corpus.name, self.links),
                }
            )
        return found

    def _results(self, hits: Sequence[Hit]) -> list[dict[str, Any]]:
        files = self._files([hit.passage.document for hit in hits], with_attributes=True)
        return [
            {
                "file_id": file.id,
                "filename": file.name,
                "score": hit.score,
                "text": self._text(hit.passage),
                "attributes": dict(file.attributes),
            }
            for hit in hits
            if (file := files.get(hit.passage.document)) is not None
        ]

    def _text(self, passage: Passage) -> str:
        """Of the picture of a page the page's text, as far as it is known."""
        if passage.image is None:
            return passage.text
        place = self.plan.place(passage.document)
        return place.corpus.store.page(place.document, passage.page).text[:_MOST_TEXT]

    def _files(self, documents: Sequence[str], *, with_attributes: bool = False) -> dict[str, FoundFile]:
        """By the names under which the answer knows the documents."""
        found: dict[str, FoundFile] = {}
        for corpus in self.plan.corpora:
            own = {
                shown: place.document
                for shown, place in ((name, self.plan.place(name)) for name in documents)
                if place.corpus.name == corpus.name
            }
            files = self.files.of(corpus, list(own.values()), with_attributes=with_attributes)
            found |= {shown: files[document] for shown, document in own.items() if document in files}
        return found


def message(id_: str, status: str, part: dict[str, Any]) -> dict[str, Any]:
    """The assistant's message as an output item."""
    return {"id": id_, "type": "message", "status": status, "role": "assistant", "content": [part]}


def text_part(
    text: str, annotations: Sequence[dict[str, Any]], logprobs: Sequence[TokenLogprob]
) -> dict[str, Any]:
    """The one part of a message's content."""
    return {
        "type": "output_text",
        "text": text,
        "annotations": list(annotations),
        "logprobs": logprobs_json(logprobs),
    }


def function_call(id_: str, status: str, call: ToolCall) -> dict[str, Any]:
    """A call of one of the asker's functions as an output item."""
    return {
        "id": id_,
        "type": "function_call",
        "status": status,
        "call_id": call.id,
        "name": call.name,
        "arguments": call.arguments,
    }


def reasoning(id_: str, status: str, text: str) -> dict[str, Any]:
    """What the model thought as an output item."""
    content = [{"type": "reasoning_text", "text": text}] if text else []
    return {"id": id_, "type": "reasoning", "status": status, "summary": [], "content": content}


def logprobs_json(tokens: Sequence[TokenLogprob]) -> list[dict[str, Any]]:
    """Here the bytes are never null."""
    return [{**_plain(token), "top_logprobs": [_plain(other) for other in token.top]} for token in tokens]


def _plain(token: TokenLogprob) -> dict[str, Any]:
    octets = token.token.encode("utf-8", "replace") if token.bytes is None else token.bytes
    return {"token": token.token, "logprob": token.logprob, "bytes": list(octets)}


def _given(fields: BaseModel | None) -> dict[str, Any]:
    """What a request set of these."""
    return {} if fields is None else fields.model_dump(exclude_none=True)


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    """As it came; a function says whether its schema is strict."""
    return {"strict": None, "parameters": None, **tool} if tool.get("type") == "function" else tool


def _choice(choice: str | dict[str, Any] | None) -> str | dict[str, Any]:
    """In the form of responses; that of chat was taken too."""
    if isinstance(choice, dict) and isinstance(choice.get("function"), dict):
        return {"type": "function", "name": choice["function"].get("name")}
    return choice or "auto"


def _usage(used: Usage) -> dict[str, Any]:
    """Details are 0 where nobody counts them, for they are required here."""
    return {
        "input_tokens": used.prompt_tokens,
        "input_tokens_details": {"cached_tokens": used.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": used.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": used.reasoning_tokens},
        "total_tokens": used.prompt_tokens + used.completion_tokens,
    }
