"""A language model's second graph, which continues many texts at once and keeps what it has read of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pennyweight.backends.torch_cached import RAGGED_FILE, ContinuesTogether, to_cached_onnx
from pennyweight.core import Form, ServeSpec, Task
from pennyweight.engine.answers import probes, softmax
from pennyweight.errors import BadInputError, MissingExtraError, UntraceableError
from pennyweight.runtimes.chorus import open_chorus

if TYPE_CHECKING:
    from pennyweight.core import Artifact, Session, Work

_TOLERANCE = 5e-4  # half of what a server tolerates


def with_memory(artifact: Artifact, work: Work, session: Session) -> Artifact:
    """The artifact, which has its probes, with that graph; as it is if the model has none, or says something else.

    Without it texts are continued all the same, each read again for every token of it.
    """
    speaks = work.spec.data.task is Task.LANGUAGE and work.spec.form is Form.MODULE
    if not speaks or not isinstance(work.model, ContinuesTogether):
        return artifact
    try:
        body = to_cached_onnx(work.model, ragged=True)
        more = replace(artifact, files=(*artifact.files, (RAGGED_FILE, body)))
        return more if _drift(more, session) <= _TOLERANCE else artifact
    except (BadInputError, UntraceableError, MissingExtraError):
        return artifact


def _drift(artifact: Artifact, session: Session) -> float:
    """How far its chances of the next token are from the recorded ones, after reading and after one step."""
    x, recorded = probes(artifact)
    chorus = open_chorus(artifact, ServeSpec(**artifact.facts["serve"]), session)
    rows, ends = np.arange(len(x)), np.maximum(1, x.shape[1] - 2 - np.arange(len(x)))
    told, memory = chorus.prefill([row[:end] for row, end in zip(x, ends, strict=True)])
    went_on, _ = chorus.step(x[rows, ends], memory)
    pairs = ((told, ends - 1), (went_on, ends))
    return float(np.max([np.abs(softmax(found) - recorded[rows, at]).max() for found, at in pairs]))
