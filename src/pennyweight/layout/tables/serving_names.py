"""What rows of serving call their engine, device and release, and what their source says of the benchmark."""

from __future__ import annotations

import re
from functools import lru_cache

from pennyweight.errors import UnknownNameError
from pennyweight.layout.serving.fleet import ENGINES
from pennyweight.layout.tables.accelerators import standing_in

_ENGINES = {"tensorrtllm": "trtllm", "trt": "trtllm", "tensorrt": "trtllm", "sgl": "sglang", "sglangruntime": "sglang"}
_DRAWN_IN = ("db-dump", "2026-03-25.csv", "2026-04-06.csv", "gap-analysis.csv")
_IMAGE = re.compile(r"([\w.-]+:[\w.-]+)$")
_MEASURED = re.compile(r"measured=(\d{4}-\d{2})")


@lru_cache(maxsize=1024)
def engine_of(text: str) -> str:
    """The engine as it is called here: `TensorRT-LLM`, `TRT-LLM` and `trtllm` are one, `vLLM` and `SGLang` too.

    Raises `UnknownNameError` with the nearest names.
    """
    letters = re.sub(r"[^a-z]", "", text.lower())
    found = _ENGINES.get(letters, letters)
    if found not in ENGINES:
        raise UnknownNameError.of("engine", text, ENGINES)
    return found


def release_of(engine: str, version: str, source: str) -> str:
    """Engine, image or version, and month: what runs of one release share."""
    image, month = _IMAGE.search(source), _MEASURED.search(source)
    return "|".join((engine, image.group(1) if image else version, month.group(1) if month else ""))


@lru_cache(maxsize=4096)
def drawn(source: str) -> bool:
    """Whether a row is of a benchmark that starts all users at once, ten requests each, of lengths drawn at random."""
    return any(name in source for name in _DRAWN_IN)


def notes_on(model_note: str, system: str) -> str:
    """What stands in for the model or the device of a row; nothing where both are known."""
    return "; ".join(filter(None, (model_note, standing_in(system))))
