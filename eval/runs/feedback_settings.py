"""Which ways of feedback are compared: kinds, trained models, and how many passages they look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from ragkit.config import Config, parse_config
from ragkit.errors import ConfigError
from ragkit.feedback_config import FeedbackTable

NONE, LOL, JOINED = "none", "lol", "+"
_KINDS = tuple(
    get_args(model.model_fields["kind"].annotation)[0] for model in get_args(get_args(FeedbackTable)[0])
)
# What may be compared where no kinds are named.
_OF_METHOD = {
    "dense": ("average", "rocchio"),
    "bm25": ("rm3",),
    "hybrid": ("average", "rocchio", "rm3"),
}


@dataclass(frozen=True, slots=True)
class FeedbackSetting:
    """One way of feedback, by its name and depth; without tables it is none. config: to search with."""

    name: str
    depth: int
    config: Config

    @property
    def key(self) -> str:
        """What the run's folder calls it."""
        return f"{self.name} {self.depth}" if self.depth else self.name


def parse_depths(text: str) -> tuple[int, ...]:
    """Such as "0-5,10", ascending.

    Raises:
        ConfigError: a part is neither a number nor a range of numbers, or none is above 0.
    """
    depths: set[int] = set()
    for part in _parts(text):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or int(first) > int(last or first):
            raise ConfigError(f"--depths {part!r} is no number and no range; give some such as 0-5 or 1,3,10")
        depths.update(range(int(first), int(last or first) + 1))
    if not any(depths):
        raise ConfigError(f"--depths {text!r} has none above 0: without passages there is no feedback to compare")
    return tuple(sorted(depths))


def parse_models(given: Sequence[str]) -> dict[str, Path]:
    """Folders of trained models by name, each given as "folder" or "name=folder".

    Raises:
        ConfigError: two have one name, or one that is a kind's.
    """
    models: dict[str, Path] = {}
    for text in given:
        name, equals, folder = text.partition("=")
        path = Path(folder if equals else text)
        name = name if equals else path.resolve().name
        if not name or name in models or name in _KINDS:
            raise ConfigError(
                f"--model {text!r} is called {name!r}; give each a name of its own: --model name=folder"
            )
        models[name] = path
    return models


def parse_kinds(text: str, config: Config, models: Mapping[str, Path]) -> tuple[str, ...]:
    """Such as "average,rocchio+rm3"; "" stands for all that the retrieval of the settings has something for.

    Raises:
        ConfigError: a kind is unknown, or "lol" and trained models do not go together.
    """
    if not text.strip():
        # Without an embedder terms are all that is searched.
        method = "bm25" if config.embedder.name == "none" else config.retrieval.method
        return (*_OF_METHOD[method], *((LOL,) if models else ()))
    kinds = tuple(dict.fromkeys(_parts(text)))
    parts = [part for kind in kinds for part in kind.split(JOINED)]
    if unknown := [part for part in parts if part not in _KINDS]:
        raise ConfigError(f"--kinds {unknown[0]!r} is none of {', '.join(_KINDS)}, nor some of them joined by +")
    if (LOL in parts) != bool(models):
        raise ConfigError(
            "--kinds lol needs trained models: --model FOLDER" if not models else "--model needs --kinds with lol"
        )
    return kinds


def feedback_settings(
    config: Config, kinds: Sequence[str], depths: Sequence[int], models: Mapping[str, Path]
) -> list[FeedbackSetting]:
    """No feedback first, then every kind at every depth above 0; "lol" once for each model.

    What the configuration says of a kind (such as Rocchio's alpha) holds, but for its depth.

    Raises:
        ConfigError: a kind revises what the retrieval of the settings does not search.
    """
    settings = [FeedbackSetting(NONE, 0, _with(config, [], "--kinds none"))]
    for kind in kinds:
        for name, words in _named(kind, models):
            for depth in (depth for depth in depths if depth and words != [{"kind": NONE}]):
                tables = [_table(config, word | {"depth": depth}) for word in words]
                settings.append(FeedbackSetting(name, depth, _with(config, tables, f"--kinds {kind}")))
    return settings


def _named(kind: str, models: Mapping[str, Path]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A kind by its name, with what its tables say; those of trained models under the models' names."""
    parts = kind.split(JOINED)
    if LOL not in parts:
        yield kind, [{"kind": part} for part in parts]
        return
    for name, folder in models.items():
        words = [{"kind": part} | ({"model": str(folder)} if part == LOL else {}) for part in parts]
        yield JOINED.join(name if part == LOL else part for part in parts), words


def _table(config: Config, words: dict[str, Any]) -> dict[str, Any]:
    said = [table for table in config.retrieval.feedback if table.kind == words["kind"]]
    return (said[0].model_dump() if said else {}) | words


def _with(config: Config, tables: Sequence[dict[str, Any]], origin: str) -> Config:
    retrieval = config.retrieval.model_dump(exclude_unset=True) | {"feedback": tables}
    return parse_config(config.model_dump(exclude_unset=True) | {"retrieval": retrieval}, origin)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
