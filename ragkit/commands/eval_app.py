"""The table of the commands of `ragkit eval`."""

from __future__ import annotations

import typer

from ragkit.commands.eval_answers import answers
from ragkit.commands.eval_compare import compare
from ragkit.commands.eval_context import context
from ragkit.commands.eval_feedback import feedback
from ragkit.commands.eval_judge import judge
from ragkit.commands.eval_load import load
from ragkit.commands.eval_mteb import mteb
from ragkit.commands.eval_ocr import ocr
from ragkit.commands.eval_report import report
from ragkit.commands.eval_retrieval import retrieval
from ragkit.commands.eval_score import score
from ragkit.commands.eval_speed import speed
from ragkit.commands.eval_tradeoff import tradeoff

_COMMANDS = (
    *(retrieval, feedback, answers, judge, context, tradeoff, mteb),
    *(score, compare, report),
    *(speed, ocr, load),
)

eval_app = typer.Typer(no_args_is_help=True, help="Offline evaluation.")
for _command in _COMMANDS:
    eval_app.command()(_command)
