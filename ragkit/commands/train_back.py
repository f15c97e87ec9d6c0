"""`ragkit train back`."""

from __future__ import annotations

from ragkit.commands.shared import ConfigOption, JsonOption, going_on
from ragkit.commands.train_accept import CorpusOption, show_switch


def back(corpus: CorpusOption, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Search a corpus with the embedder again that was in use before; twice: forth again.

    Its vectors are still there: only passages that were added since are embedded.
    """
    from ragkit.config import load_config
    from ragkit.corpus import Corpus
    from ragkit.progress import count_progress

    with Corpus.open(corpus, config=load_config(config), create=False) as opened, going_on(corpus):
        report = opened.switch_back(progress=count_progress("passages embedded"))
    show_switch(report, as_json)
