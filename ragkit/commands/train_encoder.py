"""`ragkit train encoder`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from ragkit.commands.shared import ConfigOption, JsonOption, going_on, show_report
from ragkit.config import Config, load_config
from ragkit.retrievers.training.losses import LossSettings, Method

if TYPE_CHECKING:
    from ragkit.training.encoder_run import EncoderReport, EncoderRun
    from ragkit.training.specialise import SpecialisePlan, SpecialiseReport


_PER_KIND = 100


def encoder(
    data: Annotated[
        Path | None, typer.Argument(help="A training folder: passages.jsonl, questions.jsonl and lists.jsonl.")
    ] = None,
    corpus: Annotated[
        Path | None,
        typer.Option(help="In its place: a corpus, to whose passages questions are written; no labels needed."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the run and its model; the same command goes on there. Of --corpus X the default is "
            "X.training, beside it."
        ),
    ] = None,
    kinds: Annotated[
        str,
        typer.Option(help="Of --corpus: as in ragkit train questions; default: all that a model writes."),
    ] = "",
    per_kind: Annotated[
        int | None, typer.Option(min=1, help="Of --corpus: questions of each kind; default: 100.")
    ] = None,
    teacher: Annotated[
        list[str] | None, typer.Option(help="Of --corpus: who scores lists, as in ragkit train negatives.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Of --corpus: only report; the corpus keeps its embedder.")
    ] = False,
    base: Annotated[
        str,
        typer.Option(
            help="Model to begin with, by hub name or folder; default: embedder.name. Of --corpus it is its own."
        ),
    ] = "",
    method: Annotated[
        str,
        typer.Option(help="listwise: distillation with InfoNCE; infonce: InfoNCE alone; margin-mse: MarginMSE."),
    ] = "listwise",
    epochs: Annotated[int, typer.Option(min=1, help="At most; training stops when nothing improves.")] = 3,
    learning_rate: Annotated[float, typer.Option(min=0, help="The highest, after the warm-up.")] = 5e-5,
    batch_size: Annotated[int, typer.Option(min=2, help="Questions a step, in pieces that fit the memory.")] = 64,
    contrastive_weight: Annotated[
        float, typer.Option(min=0, help="Of InfoNCE beside the distillation, in listwise.")
    ] = 0.1,
    list_length: Annotated[int, typer.Option(min=2, help="Passages of each question that are used.")] = 20,
    max_passage_tokens: Annotated[
        int, typer.Option(min=0, help="While training, longer passages are cut; 0: none.")
    ] = 0,
    piece_tokens: Annotated[int, typer.Option(min=1, help="Tokens at a time: bounds the memory alone.")] = 4096,
    base_share: Annotated[
        float,
        typer.Option(min=0, max=1, help="Of the base's weights in the result; 0: the trained ones alone."),
    ] = 0.5,
    seed: Annotated[int, typer.Option(min=0, help="Of the order of questions.")] = 0,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train an embedder on lists of passages that a teacher has scored, or specialise that of a corpus.

    A tenth of the questions is held out: training stops by their loss, and in the end both embedders search with
    them. With --corpus all steps are run: questions, negatives, training, judgement; a model that is surely better
    is taken into use.
    """
    from ragkit.retrievers.training.question_prompts import QuestionKind
    from ragkit.retrievers.training.train_encoder import EncoderTraining
    from ragkit.training.encoder_run import EncoderRun
    from ragkit.training.make_teachers import RETRIEVER
    from ragkit.training.mine_negatives import MiningPlan
    from ragkit.training.question_plan import QuestionPlan, kinds_of
    from ragkit.training.specialise import SpecialisePlan

    if (data is None) == (corpus is None):
        raise typer.BadParameter("give a training folder or --corpus, one of them", param_hint="DATA")
    _refuse_uncounted(
        corpus, {"--kinds": kinds, "--per-kind": per_kind, "--teacher": teacher, "--dry-run": dry_run}
    )
    if corpus is not None and base:
        raise typer.BadParameter("the corpus's own embedder is trained", param_hint="--base")
    if method not in get_args(Method):
        raise typer.BadParameter(f"{method!r}; give one of {', '.join(get_args(Method))}", param_hint="--method")
    training = EncoderTraining(
        loss=LossSettings(method, contrastive_weight=contrastive_weight),  # type: ignore[arg-type]
        learning_rate=learning_rate,
        epochs=epochs,
        batch_size=batch_size,
        list_length=list_length,
        piece_tokens=piece_tokens,
        base_share=base_share,
        seed=seed,
    )
    settings = load_config(config)
    if data is not None:
        run = EncoderRun(data, base or settings.embedder.name, training, max_passage_tokens)
        show_report(_train(run, out, settings), as_json)
        return
    assert corpus is not None, "one of both is given"
    plan = SpecialisePlan(
        QuestionPlan(kinds_of(kinds) or tuple(QuestionKind), per_kind or _PER_KIND, seed),
        MiningPlan(teachers=tuple(teacher or [RETRIEVER]), list_length=list_length),
        training,
        max_passage_tokens=max_passage_tokens,
        accepts=not dry_run,
    )
    show_report(_specialise(corpus, plan, out, settings), as_json)


def _refuse_uncounted(corpus: Path | None, of_corpus: dict[str, object]) -> None:
    given = [name for name, value in of_corpus.items() if value]
    if corpus is None and given:
        raise typer.BadParameter("counts only with --corpus", param_hint=given[0])


def _train(run: EncoderRun, out: Path | None, settings: Config) -> EncoderReport:
    from ragkit.training.encoder_run import run_encoder_training

    if out is None:
        raise typer.BadParameter("name a folder for the run and its model", param_hint="--out")
    with going_on(out):
        return run_encoder_training(run, out, settings, _tell)


def _specialise(corpus: Path, plan: SpecialisePlan, out: Path | None, settings: Config) -> SpecialiseReport:
    from ragkit.progress import count_progress
    from ragkit.training.specialise import specialise

    folder = out or corpus.with_name(f"{corpus.name}.training")
    with going_on(folder):
        return specialise(corpus, plan, settings, folder, _tell, count_progress("done"))


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201
