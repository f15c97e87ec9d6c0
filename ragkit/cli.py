"""The command line. Exit status: 0 done, 1 the work failed, 2 bad usage; results on stdout, messages on stderr."""

from __future__ import annotations

import json
import signal
import sys
from contextlib import ExitStack
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ragkit import __version__
from ragkit.commands.eval_app import eval_app
from ragkit.commands.train_app import train_app
from ragkit.config import Config, load_config
from ragkit.errors import ConfigError, FilterError, RagkitError

if TYPE_CHECKING:
    from ragkit.corpus import Corpus

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Question answering over document collections.",
)


class Pages(StrEnum):
    """What of a page is indexed."""

    text = "text"
    image = "image"
    both = "both"


class Level(StrEnum):
    """What a result stands for."""

    passage = "passage"
    page = "page"
    document = "document"


app.add_typer(eval_app, name="eval")
app.add_typer(train_app, name="train")

CorpusOption = Annotated[Path, typer.Option("--corpus", help="Folder of the corpus.")]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="TOML file of settings; all of them stand in ragkit/config.py.")
]
FilterOption = Annotated[
    str | None,
    typer.Option("--filter", help="Only documents with such attributes: 'year>=2022 and dept in (legal,hr)'."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"ragkit {__version__}")  # noqa: T201
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Options that stand before any command."""


@app.command()
def index(
    paths: Annotated[list[str], typer.Argument(help="Files, folders or glob patterns.")],
    corpus: CorpusOption,
    pages: Annotated[
        Pages | None, typer.Option(help="Index what pages say (text), how they look (image), or both.")
    ] = None,
    embedder: Annotated[
        str | None, typer.Option(help="Model name or folder, of texts or of page pictures; 'none': BM25 alone.")
    ] = None,
    password: Annotated[str | None, typer.Option(help="Tried on encrypted files.")] = None,
    prune: Annotated[bool, typer.Option("--prune", help="Remove documents whose file is gone.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Index documents; only new and changed files are worked on."""
    from ragkit.embedder_set import with_choices
    from ragkit.progress import index_progress
    from ragkit.terminal import print_report, report_json

    settings = with_choices(load_config(config), None if pages is None else pages.value, embedder)
    with _open(corpus, settings, create=True) as opened, index_progress() as progress:
        report = opened.add(paths, password=password, prune=prune, progress=progress)
    if as_json:
        _print_json(report_json(report))
    else:
        print_report(report)
    if report.failed or report.interrupted:
        raise typer.Exit(1)


@app.command()
def search(
    query: str,
    corpus: CorpusOption,
    k: Annotated[int, typer.Option("-k", min=1, help="Number of hits.")] = 10,
    level: Annotated[Level | None, typer.Option(help="What a hit stands for.")] = None,
    where: FilterOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the passages, pages or documents that answer a query best."""
    from ragkit.terminal import hits_json, print_hits

    with _open(corpus, load_config(config)) as opened:
        hits = opened.search(query, k, level=None if level is None else level.value, where=where)
    if as_json:
        _print_json(hits_json(query, hits))
    else:
        print_hits(hits)


@app.command()
def ask(
    question: str,
    corpus: CorpusOption,
    where: FilterOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Answer a question from the corpus, with citations."""
    with _open(corpus, load_config(config)) as opened:
        answer = opened.ask(question, where=where)
    if as_json:
        from ragkit.serve.api.wire import answer_json

        _print_json(answer_json(answer))
    else:
        from ragkit.terminal import print_answer

        print_answer(answer)


@app.command()
def info(corpus: CorpusOption, as_json: JsonOption = False) -> None:
    """Say what a corpus holds."""
    from ragkit.terminal import print_info

    with _open(corpus, load_config(None)) as opened:
        facts = opened.info()
    if as_json:
        _print_json(asdict(facts))
    else:
        print_info(facts)


@app.command()
def verify(corpus: CorpusOption, as_json: JsonOption = False) -> None:
    """Check every file of a corpus; exit status 1 names what is broken."""
    with _open(corpus, load_config(None)) as opened:
        problems = opened.verify()
    if as_json:
        _print_json({"corpus": str(corpus), "sound": not problems, "problems": problems})
    else:
        print("\n".join(problems) or f"{corpus} is sound")  # noqa: T201
    if problems:
        raise typer.Exit(1)


@app.command()
def repair(corpus: CorpusOption, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Make again what a corpus's files lost; exit status 1 names what is still broken."""
    from ragkit.indexers.repair import restore_manifest

    restored = restore_manifest(corpus)
    with _open(corpus, load_config(config)) as opened:
        report = opened.repair()
    done = [*restored, *report.done]
    if as_json:
        _print_json({"corpus": str(corpus), "sound": not report.left, "done": done, "left": report.left})
    else:
        print("\n".join(done or ["nothing to repair"]))  # noqa: T201
        print("\n".join(f"STILL BROKEN: {line}" for line in report.left) or f"{corpus} is sound")  # noqa: T201
    if report.left:
        raise typer.Exit(1)


@app.command()
def compact(corpus: CorpusOption, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Take the space of removed documents back; with another index.kind, build that index."""
    with _open(corpus, load_config(config)) as opened:
        report = opened.compact(lambda: print("building an index …", file=sys.stderr))  # noqa: T201
    if as_json:
        _print_json(asdict(report))
    else:
        freed = report.num_bytes_before - report.num_bytes_after
        print(f"{report.num_dropped} dead passages dropped, {freed / 1e6:.1f} MB freed")  # noqa: T201
        for warning in report.warnings:
            print(f"ragkit: {warning}", file=sys.stderr)  # noqa: T201


@app.command()
def remove(
    documents: Annotated[list[str], typer.Argument(help="Document ids, as searches show them.")],
    corpus: CorpusOption,
) -> None:
    """Take documents out of a corpus."""
    with _open(corpus, load_config(None)) as opened:
        removed = opened.remove(documents)
    for document in removed:
        print(f"removed {document}")  # noqa: T201
    missing = sorted(set(documents) - set(removed))
    if missing:
        raise RagkitError(f"not in {corpus}: {', '.join(missing)}")


@app.command()
def serve(
    corpus: Annotated[
        list[Path] | None, typer.Option("--corpus", help="Folder of a corpus; may be repeated.")
    ] = None,
    store: Annotated[
        Path | None, typer.Option("--store", help="Folder for what clients upload: files and vector stores.")
    ] = None,
    host: str = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    keys: Annotated[Path | None, typer.Option("--keys", help="File of API keys, as ragkit key writes it.")] = None,
    no_keys: Annotated[
        bool, typer.Option("--no-keys", help="Let everybody in who reaches a host other than this machine.")
    ] = False,
    ssl_certfile: Annotated[
        Path | None, typer.Option(help="Certificates for TLS, PEM.", exists=True, dir_okay=False)
    ] = None,
    ssl_keyfile: Annotated[
        Path | None, typer.Option(help="Their private key, PEM.", exists=True, dir_okay=False)
    ] = None,
    vllm: Annotated[
        str, typer.Option("--vllm", metavar="MODEL", help="Start a vLLM server with this model, and answer by it.")
    ] = "",
    vllm_python: Annotated[
        str, typer.Option("--vllm-python", metavar="PATH", help="Python of the environment that has vLLM.")
    ] = "",
    config: ConfigOption = None,
) -> None:
    """Answer over HTTP as an OpenAI-compatible server; a corpus is a model, named by its folder.

    Give at least one --corpus, or a --store.
    """
    from ragkit.hosting.served_app import served_app
    from ragkit.hosting.start_checks import check_certificate, check_settings, hold_address
    from ragkit.serve.api.app import run_server
    from ragkit.serve.stores.state import make_store_folder

    if not corpus and store is None:
        raise ConfigError("there is nothing to serve; name a --corpus, or a --store for uploads")
    settings = _with_keys_file(load_config(config), keys)
    check_settings(settings.serve, host, no_keys)
    check_certificate(ssl_certfile, ssl_keyfile)
    if store is not None:
        make_store_folder(store)
    with ExitStack() as running:
        # By itself SIGTERM ends Python at once, and what was started is to end alone, which what hangs does not.
        running.callback(signal.signal, signal.SIGTERM, signal.signal(signal.SIGTERM, _exit))
        sockets = [running.enter_context(one) for one in hold_address(host, port)]
        # Who lets everybody in is asked by whatever name the network has for the server.
        served = running.enter_context(served_app(settings, corpus or [], store, (vllm, vllm_python), no_keys))
        run_server(served.app, sockets, ssl_certfile, ssl_keyfile, served.end)


def _exit(number: int, _: object) -> None:
    # As a shell tells the end by a signal.
    sys.exit(128 + number)


@app.command()
def key(
    name: Annotated[str, typer.Argument(help="Whose key it is: it stands in the log.")],
    file: Annotated[
        Path | None, typer.Option("--file", help="Add the key's hash to this file; otherwise it is printed.")
    ] = None,
    corpus: Annotated[
        list[str] | None,
        typer.Option(
            "--corpus", help="A corpus (by name) or vector store (by id) that it may ask; all where none is named."
        ),
    ] = None,
) -> None:
    """Make an API key: it is printed once, and the server keeps its hash alone."""
    from ragkit.serve.guards.api_keys import add_key, make_key

    made = make_key(name, corpus or []) if file is None else add_key(file, name, corpus or [])
    print(made.key)  # noqa: T201
    where = made.entry if file is None else f"its hash is in {file}"
    print(where, file=sys.stderr)  # noqa: T201


@app.command()
def demo() -> None:
    """Index the bundled sample documents and answer three questions; no GPU, no hub."""
    from ragkit.demo import run_demo

    run_demo()


def _with_keys_file(config: Config, keys: Path | None) -> Config:
    """The configuration with another file of API keys, where one is given."""
    if keys is None:
        return config
    return config.model_copy(update={"serve": config.serve.model_copy(update={"api_keys_file": str(keys)})})


def _open(folder: Path, settings: Config, create: bool = False) -> Corpus:
    from ragkit.corpus import Corpus

    return Corpus.open(folder, config=settings, create=create)


def _print_json(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2, default=str))  # noqa: T201


def main() -> None:
    """Entry point: run a command and turn ragkit's errors into a message and an exit status."""
    try:
        app()
    except (ConfigError, FilterError) as error:
        print(f"ragkit: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except RagkitError as error:
        print(f"ragkit: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
