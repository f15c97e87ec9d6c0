"""`ragkit train …`: the table of its commands."""

from __future__ import annotations

import typer

from ragkit.commands.train_accept import accept
from ragkit.commands.train_back import back
from ragkit.commands.train_encoder import encoder
from ragkit.commands.train_fusion import fusion
from ragkit.commands.train_lol import lol
from ragkit.commands.train_negatives import negatives
from ragkit.commands.train_questions import questions
from ragkit.commands.train_rerank_weight import rerank_weight
from ragkit.commands.train_reranker import reranker

train_app = typer.Typer(no_args_is_help=True, help="Training to your own documents.")


@train_app.callback()
def train() -> None:
    """Training to your own documents."""


for command in (questions, negatives, encoder, reranker, rerank_weight, accept, back, fusion, lol):
    train_app.command()(command)
