"""All settings: one TOML file, one pydantic model a table of it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from ragkit.errors import ConfigError
from ragkit.feedback_config import FeedbackTable, as_tables, check_method
from ragkit.field_problems import explain
from ragkit.serve_config import ServeConfig


class _Table(BaseModel):
    # Defaults are validated too, so that a default of 150 and a remembered 150.0 are the same setting.
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


# ISO 639-1 codes of what the packaged OCR model reads.
OcrLanguage = Literal[
    "af", "cs", "da", "de", "el", "en", "es", "et", "eu", "fi", "fr", "ga", "gl", "hr", "hu", "id", "is", "it",
    "ja", "ku", "lt", "lv", "ms", "mt", "nl", "no", "oc", "pl", "pt", "ro", "sk", "sl", "sq", "sv", "sw", "tr",
    "uz", "zh",
]  # fmt: skip


class DocumentsConfig(_Table):
    """How files become pages.

    ocr_languages "auto": each line is read with Latin letters, and with all letters of the model where those
    do not fit. A list of languages (en, de, zh, ja, el, ...) allows their letters alone, beside Latin ones.
    """

    renderer: Literal["pypdfium2", "pdf2image"] = "pypdfium2"
    ocr: Literal["auto", "always", "never"] = "auto"
    ocr_dpi: float = Field(default=150, ge=36, le=600)
    ocr_languages: Literal["auto"] | tuple[OcrLanguage, ...] = "auto"
    max_page_pixels: int = Field(default=25_000_000, ge=10_000)
    encoding: str = "utf-8"


class PassagesConfig(_Table):
    """How pages become passages.

    split: "sentences" cuts at sentence ends into passages of at most max_tokens; "none" keeps each
    page whole (the embedder reads its beginning). max_tokens 0 stands for the embedder's own limit.
    """

    split: Literal["sentences", "none"] = "sentences"
    max_tokens: int = Field(default=0, ge=0)
    overlap_tokens: int = Field(default=32, ge=0)


class EmbedderConfig(_Table):
    """name: a sentence-transformers model by hub name or folder, or "none" for BM25 alone.

    dtype "auto": what this machine is fast at. batch_tokens 0: what the device is fast at.
    """

    name: str = "all-MiniLM-L6-v2"
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    batch_tokens: int = Field(default=0, ge=0)
    query_prompt: str | None = None
    passage_prompt: str | None = None
    trust_remote_code: bool = False


class PagesConfig(_Table):
    """What of a page is embedded: its "text", its "image", or "both"; "auto" asks the embedder's name.

    dpi: of the pictures. keep_pages: whether the corpus keeps them as files (of `format`, at `quality`);
    if not, they are drawn anew from the document when asked for. A change of it counts for documents that
    are indexed from then on. render_processes 0: one less than there
    are cores, at least one.
    """

    embed: Literal["auto", "text", "image", "both"] = "auto"
    dpi: float = Field(default=150, ge=36, le=600)
    keep_pages: bool = True
    format: Literal["jpeg", "webp"] = "jpeg"
    quality: int = Field(default=85, ge=1, le=100)
    render_processes: int = Field(default=0, ge=0)


class PageEmbedderConfig(_Table):
    """What embeds pages as pictures: a vision-language model by hub name or folder.

    pooling "auto" and prompts None: what the model's family wants. max_pixels 0 and batch_pages 0: what
    the family and the device are good at.
    """

    name: str = ""
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    pooling: Literal["auto", "weighted-mean", "mean", "last"] = "auto"
    max_pixels: int = Field(default=0, ge=0)
    batch_pages: int = Field(default=0, ge=0)
    query_prompt: str | None = None
    passage_prompt: str | None = None
    trust_remote_code: bool = False


class LateInteractionConfig(_Table):
    """A second stage that scores pages anew by MaxSim over token vectors, kept in the corpus.

    name: a late-interaction model by hub name or folder, or "none". dtype: of the vectors on disk.
    pool_factor: so many token vectors of a page become one, by clustering; 1 keeps all.
    depth: first hits that are scored anew.
    """

    name: str = "none"
    device: str = "auto"
    dtype: Literal["float16", "int8"] = "float16"
    pool_factor: int = Field(default=1, ge=1)
    depth: int = Field(default=50, ge=1)
    trust_remote_code: bool = False


class IndexConfig(_Table):
    """Which index searches the vectors, and how well.

    kind: "auto" chooses by number, dimensions and memory, and says why; "flat" is exact; "ivf-flat", "ivf-sq8",
    "ivf-pq", "ivf-rabitq" and "hnsw" are FAISS's indexes with sizes that fit the number of vectors; any other
    word is a FAISS factory string such as "IVF4096,PQ48"; "numpy" is the exact reference, without FAISS.
    recall_target: share of the ten nearest that a search should find; search effort is raised until it does.
    min_vectors: a shard of fewer is searched exactly. memory_mb: what "auto" may fill; 0 stands for half of
    the machine's. compact_share: a shard of which more rows than this are dead is written anew.
    device: where FAISS searches and builds: "cpu", "cuda" (all GPUs, in parts), or "cuda:1". With a GPU "auto" is
    exact search while the vectors fit (memory_mb, or half of the GPUs' memory), and "ivf-pq" otherwise.
    """

    kind: str = "auto"
    recall_target: float = Field(default=0.95, gt=0, le=1)
    min_vectors: int = Field(default=20_000, ge=1)
    memory_mb: int = Field(default=0, ge=0)
    compact_share: float = Field(default=0.2, gt=0, lt=1)
    device: str = Field(default="cpu", pattern=r"^(cpu|cuda(:\d+)?)$")


class LexicalConfig(_Table):
    """language: "auto" (found from the texts), "none", or a Snowball language such as "german".

    Chinese, Japanese and Thai characters are always cut into n-grams of `ngram` characters.
    """

    language: str = "auto"
    ngram: int = Field(default=2, ge=1, le=4)
    k1: float = Field(default=1.5, gt=0, allow_inf_nan=False)
    b: float = Field(default=0.75, ge=0, le=1, allow_inf_nan=False)


class RetrievalConfig(_Table):
    """fusion "rrf" adds 1/(rrf_k + rank); "weighted" adds scores scaled to 0..1, dense times dense_weight.

    depth: passages that each retriever gives to the fusion; a hybrid search finds no more.
    page_fusion "auto": texts and pictures are merged with the weights that were fitted for the corpus
    (ragkit train fusion), and by "rrf" where none were.
    feedback: how the first hits of a search revise what is searched for again, a table such as
    {kind = "average", depth = 3}; in hybrid retrieval a list of two, of vectors and of terms. None by default.
    """

    method: Literal["dense", "bm25", "hybrid"] = "hybrid"
    level: Literal["passage", "page", "document"] = "passage"
    fusion: Literal["rrf", "weighted"] = "weighted"
    dense_weight: float = Field(default=0.5, ge=0, le=1)
    rrf_k: int = Field(default=60, ge=1)
    page_fusion: Literal["auto", "rrf"] = "auto"
    depth: int = Field(default=500, ge=1)
    feedback: Annotated[tuple[FeedbackTable, ...], BeforeValidator(as_tables)] = ()

    @model_validator(mode="after")
    def _check_feedback(self) -> Self:
        check_method(self.feedback, self.method)
        return self


class RerankConfig(_Table):
    """kind "cross-encoder": a sentence-transformers CrossEncoder by name; "remote": a `url` ending in /rerank.

    "embedder": another sentence-transformers model than the one that searched, by whose vectors the first hits are
    compared; they are made when they are needed, with the prompts that the model brings, and none are on disk.
    "llm-listwise": the engine of [generation] puts the passages in order, 20 at a time; "llm-yes": by the
    probability with which it says that a passage helps.
    weight: of the reranker, the rest being the retriever's, both standardised over the hits. Unset it is what
    ragkit train reranker or rerank-weight found best for the model, or else 1: the reranker alone. Below 1
    scores say how a hit stands among those of its own question, and a min_score is compared with that.
    """

    kind: Literal["none", "cross-encoder", "embedder", "remote", "llm-listwise", "llm-yes"] = "none"
    model: str = ""
    url: str = ""
    api_key_env: str = ""
    depth: int = Field(default=50, ge=1)
    weight: float | None = Field(default=None, ge=0, le=1)
    timeout_s: float = Field(default=60, gt=0)

    @property
    def asks_engine(self) -> bool:
        """Whether the engine of [generation] is the reranker."""
        return self.kind in ("llm-listwise", "llm-yes")


def _none_or_room(tokens: int) -> int:
    if tokens and tokens < 256:
        raise ValueError("a context holds at least 256 tokens; 0 asks the server")
    return tokens


class GenerationConfig(_Table):
    """engine "extractive" quotes; "smollm2" is a small packaged model; "transformers" runs `model` in process.

    show: what of the hits the engine sees: their "text", the page "images" one by one, one image of all
    pages side by side ("concatenation"), or one page at a time with the surest answer kept
    ("weighted-selection"); "auto": images where there are any and the engine reads them. style "evidence"
    asks for observation, evidence and thought before the answer (VisRAG 2.0).
    max_tokens: 512, and 2048 in the evidence style, unless it is set.
    max_images, max_pixels: what the engine accepts in a request, and of one image; max_images 0 stands for
    an "openai" model that reads text alone, and for 8 images with a vision-language model in process.

    "openai" asks any OpenAI-compatible base `url`; its key is read from the environment variable api_key_env,
    where that is "" from OPENAI_API_KEY, and only for api.openai.com.
    context_tokens counts for "openai" and "echo"; 0 asks the server, and is 8192 where it does not say. A model in
    process knows its own.
    connect_timeout_s: to connect; timeout_s: to begin an answer, and between its pieces. retries: of requests of
    which no byte came back. After breaker_failures in a row the server is left alone for breaker_s.
    "vllm" runs `model` in process for offline batches; `ragkit serve --vllm` starts vLLM's server, with the Python
    vllm_python. vllm_args: of vLLM's command line, for both.

    order: of the sources in the prompt: "rank" (best first), "ends" (best at both ends), "reverse" (best next to
    the question) or "document" (by document and page); "auto": by the file that position_curve names, "rank"
    without one.
    duplicates: leave out passages that repeat another ("exact"), that say nearly the same ("near"), or none
    ("keep"). choice: leave out passages behind a "gap" of the scores, those that the reranker puts far below the
    retriever ("disagreement"), "both", or none ("all"); "middle" keeps the latter as the weakest of all, which the
    order "ends" puts in the middle. The first min_passages always stay.
    condense: what is searched for in a conversation: the "last" message of the user, the last and earlier ones
    ("history"), or a question that the engine makes of them ("llm").
    """

    engine: Literal["extractive", "smollm2", "transformers", "vllm", "openai", "echo"] = "extractive"
    model: str = ""
    url: str = ""
    api_key_env: str = ""
    show: Literal["auto", "text", "images", "concatenation", "weighted-selection"] = "auto"
    style: Literal["plain", "evidence"] = "plain"
    max_images: int = Field(default=0, ge=0)
    max_pixels: int = Field(default=2_000_000, ge=10_000)
    num_passages: int = Field(default=8, ge=1)
    num_pages: int = Field(default=3, ge=1)
    order: Literal["auto", "rank", "ends", "reverse", "document"] = "auto"
    position_curve: str = ""
    duplicates: Literal["exact", "near", "keep"] = "exact"
    choice: Literal["all", "gap", "disagreement", "middle", "both"] = "all"
    min_passages: int = Field(default=3, ge=1)
    condense: Literal["last", "history", "llm"] = "last"
    context_tokens: Annotated[int, AfterValidator(_none_or_room)] = 0
    max_tokens: int = Field(default=512, ge=1)
    temperature: float = Field(default=0.0, ge=0)
    timeout_s: float = Field(default=120, gt=0)
    connect_timeout_s: float = Field(default=10, gt=0)
    retries: int = Field(default=2, ge=0, le=10)
    breaker_failures: int = Field(default=5, ge=1)
    breaker_s: float = Field(default=10, gt=0)
    vllm_python: str = ""
    vllm_args: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _room_for_evidence(cls, raw: Any) -> Any:
        """Four parts do not fit into what one answer takes."""
        return {"max_tokens": 2048} | raw if isinstance(raw, dict) and raw.get("style") == "evidence" else raw


class Config(_Table):
    """Everything; `Config()` is what ragkit does without a configuration file."""

    documents: DocumentsConfig = DocumentsConfig()
    passages: PassagesConfig = PassagesConfig()
    embedder: EmbedderConfig = EmbedderConfig()
    pages: PagesConfig = PagesConfig()
    page_embedder: PageEmbedderConfig = PageEmbedderConfig()
    late_interaction: LateInteractionConfig = LateInteractionConfig()
    index: IndexConfig = IndexConfig()
    lexical: LexicalConfig = LexicalConfig()
    retrieval: RetrievalConfig = RetrievalConfig()
    rerank: RerankConfig = RerankConfig()
    generation: GenerationConfig = GenerationConfig()
    serve: ServeConfig = ServeConfig()


def load_config(path: Path | None) -> Config:
    """Read a TOML file; None gives the defaults.

    Raises:
        ConfigError: the file is missing, is not TOML, or holds an unknown key or a bad value.
    """
    if path is None:
        return Config()
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    return parse_config(raw, str(path))


def parse_config(raw: dict[str, Any], origin: str = "configuration") -> Config:
    """Check settings given as nested tables; `origin` names them in errors."""
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        problems = "; ".join(explain(problem, Config) for problem in error.errors())
        raise ConfigError(f"{origin}: {problems}") from error
