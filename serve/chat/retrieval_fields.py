"""What a request says about the search behind its answer: `filters`, and the namespaced field `ragkit`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

from ragkit.filter_json import filter_from_json
from ragkit.filter_text import parse_filter
from ragkit.filters import Condition
from ragkit.records import Filter
from ragkit.serve.api.http_errors import HttpProblem
from ragkit.serve.chat.sampling_fields import check_text

MOST_PASSAGES = 1000


class RetrievalFields(BaseModel):
    """num_passages: how many to look for. min_score: passages below it are left out, on the scale of the corpus.

    documents: ids of those to search. filters: as beside `ragkit`, in JSON or as text.
    """

    model_config = ConfigDict(extra="forbid")

    num_passages: Annotated[StrictInt, Field(ge=1, le=MOST_PASSAGES)] | None = None
    min_score: Annotated[float, Field(allow_inf_nan=False, strict=True)] | None = None
    documents: list[StrictStr] | None = None
    filters: Any = None


def where_of(filters: Any, fields: RetrievalFields | None = None) -> Filter | None:
    """The documents that a request asks of; None for all.

    Raises:
        HttpProblem: 400, there are two filters.
        FilterError: what is there is no filter.
    """
    documents = None if fields is None or fields.documents is None else frozenset(fields.documents)
    inner = None if fields is None else fields.filters
    if filters is not None and inner is not None:
        raise HttpProblem(400, "there are filters and ragkit.filters; send one of them", param="ragkit.filters")
    given = inner if filters is None else filters
    check_text("ragkit.documents", sorted(documents or ()))
    if given is None and documents is None:
        return None
    return Filter(documents, None if given is None else _condition(given))


def _condition(filters: Any) -> Condition:
    return parse_filter(filters) if isinstance(filters, str) else filter_from_json(filters)
