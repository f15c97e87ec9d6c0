"""Every error that ragkit raises on purpose.

    RagkitError
    ├── ConfigError            a setting is unknown, missing or out of range
    ├── MissingExtraError      an optional library is not installed
    ├── DocumentError          one file cannot be read; indexing goes on with the others
    │   ├── PasswordError      the file is encrypted and the password is missing or wrong
    │   └── UnsupportedFileError  the file is of no kind that is read
    ├── CorpusError            a corpus cannot be opened, changed or trusted
    │   ├── CorpusNotFoundError
    │   ├── CorpusLockedError  another process is writing
    │   └── CorpusDamagedError a file of the corpus is missing, truncated or altered
    ├── EngineError            a generation engine or remote model failed
    │   ├── ContextLengthError prompt and answer do not fit the engine's context
    │   ├── ImageInputError    the request has images that the engine does not read
    │   ├── UnsupportedRequestError  the request asks for a kind of reply that the engine cannot give
    │   ├── RequestRefusedError a remote model takes no such request
    │   ├── EngineTimeoutError a remote model took too long
    │   └── EngineUnavailableError  a remote model is not there, or takes nothing more, for now
    ├── FilterError            a filter on attributes is malformed or can only be a mistake
    └── DataError              an evaluation file is malformed

Messages say what was wrong, both values, and the next step.
"""

from __future__ import annotations


class RagkitError(Exception):
    """Base of all errors above; the command line prints its message and exits with 1."""


class ConfigError(RagkitError):
    """A setting is unknown, missing or out of range; the command line exits with 2."""


class MissingExtraError(RagkitError):
    """An optional library is not installed; the message holds the pip line that adds it."""


class DocumentError(RagkitError):
    """One document cannot be read. The message is the reason alone, without the path."""


class PasswordError(DocumentError):
    """The document is encrypted and no password, or a wrong one, was given."""


class UnsupportedFileError(DocumentError):
    """The document is of no kind that is read; mending the file would not help."""


class CorpusError(RagkitError):
    """A corpus cannot be opened, changed or trusted."""


class CorpusNotFoundError(CorpusError):
    """There is no corpus in the folder."""


class CorpusDeletedError(CorpusError):
    """The vector store was deleted while a request to it was on its way."""


class CorpusLockedError(CorpusError):
    """Another process is writing to the corpus."""


class CorpusDamagedError(CorpusError):
    """A file of the corpus is missing, truncated or altered."""


class IndexBuildError(CorpusError):
    """FAISS cannot build an index over the vectors at hand; they can be searched exactly all the same."""


class EngineError(RagkitError):
    """A generation engine or a remote model failed, timed out or answered nonsense."""


class ContextLengthError(EngineError):
    """Prompt and answer do not fit the engine's context; the asker can shorten them."""


class ImageInputError(EngineError):
    """The request has images and the engine reads none, or not so many; the asker can leave them out."""


class UnsupportedRequestError(EngineError):
    """The request asks for a kind of reply that the engine cannot give; field: what the asker can leave out."""

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


class RequestRefusedError(EngineError):
    """A remote model takes no such request; the message names no address, and the asker can change it."""


class EngineTimeoutError(EngineError):
    """A remote model did not answer, or did not go on, in time."""


class EngineUnavailableError(EngineError):
    """A remote model is not there, or takes nothing more, for now.

    retry_after_s: when it will again, where that is known. is_busy: it is well, and has enough to do.
    """

    def __init__(self, message: str, retry_after_s: float | None = None, *, is_busy: bool = False) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.is_busy = is_busy


class FilterError(RagkitError):
    """A filter on attributes is malformed, or asks for an attribute or type that no document has."""


class DataError(RagkitError):
    """An evaluation file is malformed; the message names the file and the line."""
