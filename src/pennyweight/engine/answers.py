"""Ask a finished model: batches in, probabilities or values out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight import runtimes
from pennyweight.core import ServeSpec
from pennyweight.errors import CorruptError
from pennyweight.evals.likelihood import log_likelihood
from pennyweight.runtimes.kept import served

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pennyweight.core import Artifact, Session

_ROWS_PER_CALL, _LOGITS = 256, 2**24
_OF_LIKELIHOODS = frozenset({"log_loss", "perplexity"})
_PROBES, _PROBE_BYTE = 8, 20_000_000
_PROBE_FILE = "probes.safetensors"


def open_session(artifact: Artifact) -> Session:
    """Load an artifact in the runtime, precision, threads and batch that its manifest names."""
    serve = ServeSpec(**artifact.facts["serve"])
    return served(runtimes.load(serve.runtime).load(artifact, serve), serve)


def answer(session: Session, artifact: Artifact, x: NDArray[Any]) -> NDArray[Any]:
    """Answer all rows of `x` in batches: probabilities `(N, C)` of classes, `(N, T, V)` of tokens, or values `(N,)`.

    For a metric, ask `judged`, which takes no room for every word of a vocabulary.
    """
    facts = artifact.facts
    dtype = np.dtype(facts["input_dtype"])
    parts = [
        np.asarray(session.predict(np.ascontiguousarray(x[at : at + _ROWS_PER_CALL], dtype=dtype)))
        for at in range(0, len(x), _ROWS_PER_CALL)
    ]
    raw = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return softmax(raw) if facts["outputs"] == "logits" else raw


def judged(session: Session, artifact: Artifact, x: NDArray[Any], y: NDArray[Any], metric: str) -> NDArray[Any]:
    """Answer as `metric` takes it: as `answer`, or with the log-likelihood `(N, T)` of each true token `y`.

    The latter for language models, if the metric is one of likelihoods: a few rows at a time, for between them there is
    a number per token and word of the vocabulary.
    """
    facts = artifact.facts
    if metric not in _OF_LIKELIHOODS or np.ndim(y) != 2 or facts["outputs"] != "logits":
        return answer(session, artifact, x)
    count = min(_ROWS_PER_CALL, max(1, _LOGITS // max(1, y.shape[1] * facts["classes"])))
    parts = [slice(at, at + count) for at in range(0, len(x), count)]
    dtype = np.dtype(facts["input_dtype"])
    told = (np.asarray(session.predict(np.ascontiguousarray(x[part], dtype=dtype))) for part in parts)
    return np.concatenate(
        [log_likelihood(y[part], raw.astype(np.float64)) for part, raw in zip(parts, told, strict=True)]
    )


def softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Turn logits `(N, …, C)` into probabilities along the last axis, in float64 and without overflow."""
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    np.exp(wide, out=wide)
    wide /= wide.sum(axis=-1, keepdims=True)
    return wide


def with_probes(artifact: Artifact, session: Session, x: NDArray[Any], **facts: Any) -> Artifact:
    """Add a few rows of `x` and what the session answers to them, so that a later load can prove itself.

    They are at most eight, and fewer where an answer is large: a number per token and word of the vocabulary.
    """
    from safetensors.numpy import save

    first, rest = (np.ascontiguousarray(part, np.dtype(artifact.facts["input_dtype"])) for part in (x[:1], x[1:]))
    told = answer(session, artifact, first)
    rest = rest[: min(_PROBES, max(1, _PROBE_BYTE // told.nbytes)) - 1]
    rows = np.concatenate([first, rest])
    told = answer(session, artifact, rows) if len(rest) else told
    body = save({"x": rows, "y": np.ascontiguousarray(told)})
    meta = {**artifact.facts, **facts}
    return replace(artifact, files=(*artifact.files, (_PROBE_FILE, body)), meta=tuple(sorted(meta.items())))


def probes(artifact: Artifact) -> tuple[NDArray[Any], NDArray[Any]]:
    """The recorded rows and answers."""
    from safetensors.numpy import load

    try:
        tensors = load(artifact.file(_PROBE_FILE))
        return tensors["x"], tensors["y"]
    except (KeyError, ValueError) as error:
        raise CorruptError("The artifact holds no probes.", "make it again with pennyweight optimize.") from error
