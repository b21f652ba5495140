"""From a checkpoint's folder to what continues texts: its tokenizer, its model in the memory that there is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pennyweight.core import Verdict, no
from pennyweight.errors import BadInputError, MissingExtraError
from pennyweight.runtimes.base import installed
from pennyweight.runtimes.hf.chorus import TorchChorus
from pennyweight.runtimes.hf.embedding import TorchEmbedder
from pennyweight.runtimes.hf.folder import describe
from pennyweight.runtimes.hf.llama_graph import Decoder, window
from pennyweight.runtimes.hf.mapped import Mapped
from pennyweight.runtimes.hf.model import open_model
from pennyweight.runtimes.hf.paged import PagedChorus
from pennyweight.runtimes.hf.taking import takes
from pennyweight.runtimes.hf.tokenizer import read_tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from pennyweight.core import ServeSpec
    from pennyweight.runtimes.chorus import Chorus
    from pennyweight.runtimes.hf.folder import Description
    from pennyweight.runtimes.hf.tokenizer import HfTokenizer

RUNTIMES = ("openvino", "torch")
PRECISIONS = {"openvino": ("float32", "bfloat16", "int8"), "torch": ("float32", "bfloat16")}
_CONTEXT = 2048  # of a model that does not say how much it can look at
_SHARE = 0.5  # of the memory that is free, for what is remembered of texts
_MOST_TEXTS = 32  # that are continued at once
_LEAST = 16  # tokens that a text must be able to have
_BYTE = {"float32": 4, "bfloat16": 2, "int8": 4}


def precision_for(said: Description, runtime: str, asked: str = "") -> str:
    """The precision in which a checkpoint is served: float32 where that leaves half of the memory, else bfloat16.

    Or what was asked for; raises `BadInputError` if the runtime does not have it.
    """
    import psutil

    if asked and asked not in PRECISIONS[runtime]:
        raise BadInputError(
            f"{runtime} does not serve checkpoints in {asked}.", f"use one of {', '.join(PRECISIONS[runtime])}."
        )
    return asked or ("float32" if 2 * said.byte < psutil.virtual_memory().total / 2 else "bfloat16")


def runtime_for(folder: Path, asked: str = "") -> str:
    """What serves a checkpoint: what was asked for, or else OpenVINO where it can, as it is faster, or torch.

    Raises `BadInputError` if what was asked for cannot.
    """
    if asked not in {"", *RUNTIMES}:
        raise BadInputError(f"{asked} does not serve checkpoints.", f"use one of {', '.join(RUNTIMES)}.")
    if asked == "torch":
        return asked
    verdict = _paged(folder)
    if asked and not verdict:
        raise BadInputError(f"OpenVINO does not serve {folder}: {verdict.reason}.", "use --runtime torch.")
    return "openvino" if verdict else "torch"


def open_hf(folder: Path, serve: ServeSpec) -> tuple[Chorus, HfTokenizer]:
    """What continues texts with a checkpoint, and what reads them.

    The context is the model's, or as much of it as there is memory for; all texts together have that memory. Raises
    `BadInputError` for what cannot be served here, and what opening the model or the tokenizer raises.
    """
    said = describe(folder)
    tokenizer = read_tokenizer(folder, said.vocabulary)
    config = json.loads((folder / "config.json").read_bytes())
    context = min(said.context or _CONTEXT, window(config) or said.context or _CONTEXT)
    if serve.runtime == "torch":
        chorus = TorchChorus(open_model(folder, serve.precision), context, serve.threads)
        chorus.room = _room(chorus.token_byte(), context)
        chorus.context = min(context, chorus.room)
        return chorus, tokenizer
    if not installed("openvino"):
        raise MissingExtraError.of("openvino", "openvino")
    decoder = Decoder.of(config)
    byte = 2 * decoder.layers * decoder.kept_heads * decoder.size * _BYTE[serve.precision]
    room = _room(byte, context)
    return PagedChorus(folder, serve, min(context, room), room), tokenizer


def open_embedder(folder: Path, serve: ServeSpec) -> tuple[TorchEmbedder, HfTokenizer]:
    """What makes vectors of texts with a checkpoint, and what reads them; raises what opening these raises."""
    said = describe(folder)
    tokenizer = read_tokenizer(folder, said.vocabulary)
    model = open_model(folder, serve.precision)
    return TorchEmbedder(model, said.context or _CONTEXT, serve.threads), tokenizer


def _paged(folder: Path) -> Verdict:
    if not installed("openvino"):
        return no("it is not installed")
    return takes(json.loads((folder / "config.json").read_bytes()), Mapped(folder))


def _room(byte: int, context: int) -> int:
    """How many tokens can be remembered, each of which takes so many bytes; no more than could ever be used."""
    import psutil

    room = min(int(_SHARE * psutil.virtual_memory().available / byte), _MOST_TEXTS * context)
    if room < _LEAST:
        raise BadInputError(
            "There is no memory left to remember texts in.", "serve a smaller model, or on more memory."
        )
    return room
