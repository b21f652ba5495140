"""Ask a finished model: batches in, probabilities or values out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight import runtimes
from pennyweight.core import ServeSpec
from pennyweight.errors import CorruptError
from pennyweight.runtimes.kept import served

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pennyweight.core import Artifact, Session

_ROWS_PER_CALL = 256
_PROBES = 8
_PROBE_FILE = "probes.safetensors"


def open_session(artifact: Artifact) -> Session:
    """Load an artifact in the runtime, precision, threads and batch that its manifest names."""
    serve = ServeSpec(**artifact.facts["serve"])
    return served(runtimes.load(serve.runtime).load(artifact, serve), serve)


def answer(session: Session, artifact: Artifact, x: NDArray[Any]) -> NDArray[Any]:
    """Answer all rows of `x` in batches: probabilities `(N, C)` for classes, values `(N,)` otherwise.

    Language models answer with the log-likelihood of each next token, `(N, T)`, if `artifact` says so.
    """
    facts = artifact.facts
    dtype = np.dtype(facts["input_dtype"])
    parts = [
        np.asarray(session.predict(np.ascontiguousarray(x[at : at + _ROWS_PER_CALL], dtype=dtype)))
        for at in range(0, len(x), _ROWS_PER_CALL)
    ]
    raw = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return softmax(raw) if facts["outputs"] == "logits" else raw


def softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Turn logits `(N, …, C)` into probabilities along the last axis, in float64 and without overflow."""
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    np.exp(wide, out=wide)
    wide /= wide.sum(axis=-1, keepdims=True)
    return wide


def with_probes(artifact: Artifact, session: Session, x: NDArray[Any], **facts: Any) -> Artifact:
    """Add a few rows of `x` and what the session answers to them, so that a later load can prove itself."""
    from safetensors.numpy import save

    rows = np.ascontiguousarray(x[:_PROBES], dtype=np.dtype(artifact.facts["input_dtype"]))
    body = save({"x": rows, "y": np.ascontiguousarray(answer(session, artifact, rows))})
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
