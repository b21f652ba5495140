"""From a checkpoint's folder to what continues texts: its tokenizer, its model in the memory that there is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pennyweight.core import ServeSpec, Verdict, no
from pennyweight.errors import BadInputError, MissingExtraError
from pennyweight.runtimes.base import installed
from pennyweight.runtimes.drafting import ModelDraft
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
    from collections.abc import Callable
    from pathlib import Path

    from pennyweight.runtimes.chorus import Checking
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


def open_hf(folder: Path, serve: ServeSpec) -> tuple[Checking, HfTokenizer]:
    """What continues texts with a checkpoint, and what reads them.

    The context is the model's, or as much of it as there is memory for; all texts together have that memory. Raises
    `BadInputError` for what cannot be served here, and what opening the model or the tokenizer raises.
    """
    tokenizer = read_tokenizer(folder, describe(folder).vocabulary)
    half = _halfway(folder, serve)
    return half.made(_room(half.byte, half.context)), tokenizer


def open_drafted(folder: Path, serve: ServeSpec, draft: Path) -> tuple[Checking, HfTokenizer, ModelDraft]:
    """The same, with a smaller checkpoint beside it that guesses what it will say; both share the memory for texts.

    Raises `BadInputError` for a draft whose tokens are others.
    """
    tokenizer, said = read_tokenizer(folder, describe(folder).vocabulary), describe(draft)
    _check_same(folder, tokenizer, draft, read_tokenizer(draft, said.vocabulary))
    runtime = runtime_for(draft)
    little = _halfway(draft, ServeSpec(runtime, threads=serve.threads, precision=precision_for(said, runtime)))
    half = _halfway(folder, serve)
    room = _room(half.byte + little.byte, half.context)
    guessing = ModelDraft(little.made(room), min(tokenizer.size, said.vocabulary))
    return half.made(room), tokenizer, guessing


@dataclass(frozen=True, slots=True)
class _Halfway:
    """A model of which it is known how long a text may be and how many bytes a token of it takes to remember.

    `made` opens the rest, for so many tokens of all texts together.
    """

    context: int
    byte: int
    made: Callable[[int], Checking]


def _halfway(folder: Path, serve: ServeSpec) -> _Halfway:
    said, config = describe(folder), json.loads((folder / "config.json").read_bytes())
    context = min(said.context or _CONTEXT, window(config) or said.context or _CONTEXT)
    if serve.runtime == "torch":
        chorus = TorchChorus(open_model(folder, serve.precision), context, serve.threads)

        def limited(room: int) -> Checking:
            chorus.room, chorus.context = room, min(context, room)
            return chorus

        return _Halfway(context, chorus.token_byte(), limited)
    if not installed("openvino"):
        raise MissingExtraError.of("openvino", "openvino")
    decoder = Decoder.of(config)
    byte = 2 * decoder.layers * decoder.kept_heads * decoder.size * _BYTE[serve.precision]
    return _Halfway(context, byte, lambda room: PagedChorus(folder, serve, min(context, room), room))


def _check_same(folder: Path, tokenizer: HfTokenizer, draft: Path, other: HfTokenizer) -> None:
    """Refuse a draft that reads other tokens, or the same by other numbers."""
    if tokenizer.inner.get_vocab(with_added_tokens=True) != other.inner.get_vocab(with_added_tokens=True):
        raise BadInputError(
            f"{draft} cannot guess for {folder}: its tokenizer has other tokens.",
            "give --draft a smaller model of the same family, or ngram.",
        )


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
