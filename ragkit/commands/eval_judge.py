"""`ragkit eval judge`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from ragkit.commands.shared import ConfigOption, JsonOption, show_report
from ragkit.config import load_config


def judge(
    config: ConfigOption = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run: kept, killed and gone on with.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Have the settings' engine judge answers that people have labelled: how far it can be trusted."""
    from ragkit.evaluations.answers.judging import judge_answers, judge_report_of
    from ragkit.progress import count_progress

    settings = load_config(config)
    with tempfile.TemporaryDirectory() as scratch:
        folder = out or Path(scratch) / "judge"
        judge_answers({}, settings, folder, judging=count_progress("judged"))
        report = judge_report_of(folder, {})
    show_report(report, as_json)
    if report.failures:
        raise typer.Exit(1)
