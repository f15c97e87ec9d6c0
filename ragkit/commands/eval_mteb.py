"""`ragkit eval mteb`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ragkit.commands.shared import ConfigOption, JsonOption, show_report
from ragkit.config import load_config


def mteb(
    data: Annotated[Path | None, typer.Option(help="Folder in BEIR's layout, run as a task of mteb.")] = None,
    split: Annotated[str, typer.Option(help="Which qrels/<split>.tsv of --data.")] = "test",
    task: Annotated[
        list[str] | None, typer.Option("--task", help="Task of mteb by name, such as SciFact; may be repeated.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have mteb's own evaluator run a whole pipeline.

    With --data it is the referee: its nDCG@10 stands beside ragkit's. With --task it downloads the task's data.
    """
    from ragkit.errors import ConfigError
    from ragkit.evaluations.retrieval.mteb_evaluation import referee, run_tasks
    from ragkit.progress import index_progress

    if (data is None) == (task is None):
        raise ConfigError("give either --data FOLDER or --task NAME")
    settings, name = load_config(config), "default" if config is None else config.stem
    if data is not None:
        with index_progress() as progress:
            report = referee(data, settings, split, name, progress)
    else:
        report = run_tasks(task or [], settings, name)
    show_report(report, as_json)
