"""A language model made ready to continue texts: what reads them, what remembers them, and the proof that it does."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.core import ServeSpec, Task
from pennyweight.engine.answers import probes, softmax
from pennyweight.errors import BadInputError, CorruptError
from pennyweight.runtimes.chorus import Checking, open_chorus
from pennyweight.runtimes.tokens import tokenizer_of
from pennyweight.serve.speaking.choir import Choir

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from numpy.typing import NDArray

    from pennyweight.core import Artifact, Session
    from pennyweight.serve.answering.shelf import Shelf

APIS = ("openai",)
TOLERANCE = 1e-3
ALIKE = 0.02  # in bfloat16 sums depend on how many there are
_PROBE = 16  # tokens


def reads_text(artifact: Artifact) -> bool:
    """Whether a row of its input is a text."""
    return artifact.facts.get("task") == Task.LANGUAGE.value


def must_speak(api: str, shelf: Shelf) -> None:
    """Raise `BadInputError` if a protocol was asked for that there is none of, or that a model cannot speak."""
    if api not in {"", *APIS}:
        raise BadInputError(f"There is no protocol named {api!r}.", f"use --api {' or '.join(APIS)}, or leave it out.")
    mute = [str(each.version) for each in shelf.current.values() if each.choir is None and each.embedder is None]
    if api and mute:
        raise BadInputError(
            f"{mute[0]} is no language model, or its artifact does not say how it reads text.",
            "train it as a language model with an alphabet, or serve it without --api.",
        )


def open_choir(name: str, artifact: Artifact, session: Session, pool: Executor) -> Choir | None:
    """What continues texts with an artifact, proved and warm; None if it reads none, or nobody kept how.

    Raises `CorruptError` if it does not continue its probes as recorded.
    """
    tokenizer = tokenizer_of(artifact) if reads_text(artifact) else None
    if tokenizer is None:
        return None
    x, recorded = probes(artifact)
    if tokenizer.size != recorded.shape[-1]:
        raise CorruptError(
            f"{name} has an alphabet of {tokenizer.size}, and answers for {recorded.shape[-1]}.",
            "make the artifact again.",
        )
    choir = Choir(open_chorus(artifact, ServeSpec(**artifact.facts["serve"]), session), tokenizer, pool)
    for rows in (1, len(x)):
        prove(name, choir, x[:rows], recorded[:rows])
    return choir


def prove(name: str, choir: Choir, x: NDArray[Any], recorded: NDArray[Any]) -> None:
    """Raise `CorruptError` unless texts of different lengths, the beginnings of `x`, go on as recorded.

    The choir learns from it how long reading and a step take.
    """
    ends = [max(1, x.shape[1] - 2 - row) for row in range(len(x))]
    begin_s = time.perf_counter()
    told, memory = choir.chorus.prefill([row[:end] for row, end in zip(x, ends, strict=True)])
    read_s = time.perf_counter()
    went_on, _ = choir.chorus.step(x[np.arange(len(x)), ends], memory)
    choir.reading.saw(sum(ends), read_s - begin_s)
    choir.pace.saw(len(x), time.perf_counter() - read_s)
    pairs = ((told, [end - 1 for end in ends]), (went_on, ends))
    drift = max(float(np.abs(softmax(found) - recorded[np.arange(len(x)), at]).max()) for found, at in pairs)
    if not drift <= TOLERANCE:
        raise CorruptError(
            f"{name} continues its probes differently than when it was made (by {drift:.2g}).",
            "use the runtime version it was made with, or make it again.",
        )


def prove_alike(name: str, choir: Choir) -> None:
    """Raise `CorruptError` unless a model that remembers what it has read goes on as if it read all of it again.

    For models of which no answers were recorded. The choir learns from it how long reading and a step take.
    """
    count = min(_PROBE, choir.chorus.context - 1)
    rng = np.random.default_rng(0)
    texts = [rng.integers(0, choir.tokenizer.size, size) for size in (count, max(1, count // 2))]
    wanted, _ = choir.chorus.prefill(texts)
    begin_s = time.perf_counter()
    _, memory = choir.chorus.prefill([each[:-1] if len(each) > 1 else each for each in texts])
    read_s = time.perf_counter()
    found, _ = choir.chorus.step(np.array([each[-1] for each in texts]), memory)
    choir.reading.saw(sum(map(len, texts)), read_s - begin_s)
    choir.pace.saw(len(texts), time.perf_counter() - read_s)
    drift = float(np.abs(softmax(found) - softmax(wanted)).max()) if count > 3 else 0.0
    if not drift <= ALIKE:
        raise CorruptError(
            f"{name} goes on differently than it reads (by {drift:.2g}).", "use another runtime, or update it."
        )


def prove_checked(name: str, choir: Choir) -> None:
    """Raise `CorruptError` unless guesses that were read and forgotten again leave nothing behind.

    What guesses cost is learned from it.
    """
    guessing, chorus = choir.guessing, choir.chorus
    if guessing is None or not isinstance(chorus, Checking) or chorus.context < _PROBE:
        return
    text, wrong = np.random.default_rng(1).integers(0, choir.tokenizer.size, (2, _PROBE))
    half = _PROBE // 2
    wanted, _ = chorus.prefill([text])
    _, memory = chorus.prefill([text[:half]])
    for fed, forgotten in ((text[half : half + 1], 0), (np.append(text[half + 1 : -2], wrong[:1]), 1), (wrong[:2], 2)):
        begin_s = time.perf_counter()
        _, memory = chorus.told([fed], memory)
        guessing.reading.saw(len(fed), time.perf_counter() - begin_s)
        memory = chorus.forget(memory, [forgotten])
    found, _ = chorus.told([text[-2:]], memory)
    drift = float(np.abs(softmax(found[-1:]) - softmax(wanted)).max())
    if not drift <= ALIKE:
        raise CorruptError(
            f"{name} remembers what it was told to forget (by {drift:.2g}).",
            "leave --draft out.",
        )
