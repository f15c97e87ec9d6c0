"""Systems to be compared: TREC runs, and the run folders of ``ragkit eval retrieval`` and ``answers``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from ragkit.errors import ConfigError, DataError
from ragkit.eval.runs.answer_rows import row_from_json
from ragkit.eval.runs.run_folder import FINISHED, RunManifest, read_finished, read_manifest
from ragkit.eval.sets.trec import Run, read_run
from ragkit.files import sha256_of

# The ranking in the folder of a run of `ragkit eval retrieval`.
RANKING = "run.trec"


@dataclass(frozen=True, slots=True)
class System:
    """One system's results.

    run: scores by query and document id; None where answers were scored. fingerprint: hex SHA-256 of the file that
    holds the results. rows, manifest: of a run's folder, rows by query id; nothing of a bare TREC run.
    """

    name: str
    path: Path
    fingerprint: str
    run: Run | None
    rows: Mapping[str, Mapping[str, Any]]
    manifest: RunManifest | None

    @property
    def kind(self) -> str:
        return "answers" if self.run is None else "a ranking"

    @property
    def query_seconds(self) -> float | None:
        """Median seconds that a query took; None where nothing says so.

        Of a ranking, of the queries that were searched for one at a time: the time of a batch is none of a query.
        """
        seconds = [float(row["seconds"]) for row in self.rows.values() if "seconds" in row]
        return median(seconds) if seconds else None


def read_systems(paths: Sequence[Path]) -> list[System]:
    """Read at least two systems of one kind; each is named by its file or folder.

    Raises:
        ConfigError: fewer than two are named, or one twice.
        DataError: one cannot be read or is not finished, or they are not of one kind.
    """
    if len(paths) < 2:
        raise ConfigError(f"{len(paths)} system named, expected at least 2: the baseline first")
    resolved = [path.resolve() for path in paths]
    for number, path in enumerate(resolved):
        if path in resolved[:number]:
            raise ConfigError(f"{paths[number]} is named twice; name each system once")
    systems = [_read_system(path, name) for path, name in zip(paths, _names(resolved), strict=True)]
    for system in systems[1:]:
        if system.kind != systems[0].kind:
            raise DataError(
                f"{systems[0].path} holds {systems[0].kind} and {system.path} {system.kind}; compare systems of "
                "one kind"
            )
    return systems


def answer_scores(systems: Sequence[System], measures: Sequence[str]) -> list[dict[str, dict[str, float]]]:
    """Of each system of answers: measure, then query id, to value; of all measures where none is named.

    A measure that some answers do not have, such as the precision of citations where nothing is cited, counts the
    queries for which all systems have it; one without such a query is left out, unless it was named.

    Raises:
        ConfigError: a measure is not scored by all systems.
        DataError: the systems answered different queries, or a row is no answer.
    """
    for system in systems[1:]:
        _refuse_other_queries(systems[0], system)
    found = [_scores(system) for system in systems]
    shared = {
        measure: [query for query in values if all(query in scores.get(measure, {}) for scores in found)]
        for measure, values in found[0].items()
    }
    known = [measure for measure, queries in shared.items() if queries]
    missing = [measure for measure in measures if measure not in known]
    if missing or not known:
        named = f"all systems have {missing[0]!r} for" if missing else "all systems have a score for"
        raise ConfigError(f"there is no query that {named}; they share {', '.join(known) or 'nothing'}")
    return [
        {measure: {query: scores[measure][query] for query in shared[measure]} for measure in measures or known}
        for scores in found
    ]


def _refuse_other_queries(a: System, b: System) -> None:
    only_a, only_b = sorted(a.rows.keys() - b.rows.keys()), sorted(b.rows.keys() - a.rows.keys())
    if only_a or only_b:
        lacking = [
            f"{len(only)} ({only[0]!r} …) only in {path}"
            for only, path in ((only_a, a.path), (only_b, b.path))
            if only
        ]
        raise DataError(
            f"the queries differ: {len(a.rows)} in {a.path}, {len(b.rows)} in {b.path}; {', '.join(lacking)}. "
            "Compare systems that were asked the same"
        )


def _scores(system: System) -> dict[str, dict[str, float]]:
    """Answers are scored anew, as ``--rescore`` does: the row's own scores are those of the code that wrote it."""
    scores: dict[str, dict[str, float]] = {}
    for query, row in system.rows.items():
        try:
            values = row_from_json(query, row).scores()
        except DataError as error:
            raise DataError(f"{system.path / FINISHED}: {error}") from error
        for measure, value in values.items():
            scores.setdefault(measure, {})[query] = value
    return scores


def _read_system(path: Path, name: str) -> System:
    if not path.is_dir():
        run = read_run(path)
        return System(name, path, sha256_of(path), run, {}, None)
    manifest = read_manifest(path)
    if manifest.completed is None:
        raise DataError(f"the run in {path} is not finished; give its command again, which goes on with it")
    rows, ranking = read_finished(path), path / RANKING
    if len(rows) != manifest.completed["queries"]:
        raise DataError(
            f"the run in {path} was finished with {manifest.completed['queries']} queries, and {path / FINISHED} "
            f"has {len(rows)}; give its command again, which does what is missing"
        )
    if ranking.is_file():
        return System(name, path, sha256_of(ranking), read_run(ranking), rows, manifest)
    # Where ids hold white space no TREC run could be written: the rows have the rankings too.
    ranked = {query: dict(row["ranking"]) for query, row in rows.items() if "ranking" in row}
    if not ranked and not any("scores" in row for row in rows.values()):
        raise DataError(
            f"{path} holds neither rankings nor scored answers; give a run of eval retrieval or answers"
        )
    return System(name, path, sha256_of(path / FINISHED), ranked or None, rows, manifest)


def _names(paths: Sequence[Path]) -> list[str]:
    """By file name without its ending; as much of the folders above goes before it as tells all apart."""
    parts = [(*path.parent.parts, path.name if path.is_dir() else _stem(path)) for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").rpartition(".")[0] or path.name
