"""A version made ready: loaded, warm, and proved by its own probes before anybody is answered by it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.engine.answers import answer, open_session, probes
from pennyweight.errors import CorruptError
from pennyweight.serve.answering.lane import Lane, Terms
from pennyweight.serve.answering.shelf import Served
from pennyweight.serve.versions.registering import fetch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor

    from numpy.typing import NDArray

    from pennyweight.core import Artifact, Session
    from pennyweight.store.team.registry import Version
    from pennyweight.store.team.usage import Price

TOLERANCE = 1e-3
_WARM = 3


@final
@dataclass(frozen=True, slots=True, eq=False)
class Answering:
    """A session that answers as the artifact is documented to: probabilities where the model says logits."""

    session: Session
    artifact: Artifact

    def predict(self, x: NDArray[Any]) -> NDArray[Any]:
        """Answer a batch in float32."""
        return answer(self.session, self.artifact, x).astype(np.float32, copy=False)


def ready(version: Version, price: Price, pool: Executor, terms: Terms | None = None) -> Served:
    """Load a version, ask it its probes and let it warm up; takes as long as the runtime does.

    Raises `CorruptError` if it does not answer its probes as recorded, and what loading raises.
    """
    artifact = fetch(version)
    answering = Answering(open_session(artifact), artifact)
    x, recorded = probes(artifact)
    prove(str(version), answering, x, recorded)
    lane = Lane(answering, pool, terms or Terms())
    _warm(lane, (x[:1], x))
    return Served(version, lane, price, tuple(artifact.facts["input_shape"]))


def _warm(lane: Lane, batches: Sequence[NDArray[Any]]) -> None:
    """Answer a few batches, and let the lane know how long they take."""
    for rows in (*batches,) * _WARM:
        begin_s = time.perf_counter()
        lane.session.predict(rows)
        lane.pace.saw(len(rows), time.perf_counter() - begin_s)


def prove(name: str, session: Session, x: NDArray[Any], recorded: NDArray[Any]) -> None:
    """Raise `CorruptError` unless the session answers `x` as it did when it was recorded."""
    drift = float(np.abs(session.predict(x) - recorded).max())
    if not drift <= TOLERANCE:
        raise CorruptError(
            f"{name} answers its probes differently than when it was made (by {drift:.2g}).",
            "use the runtime version it was made with, or make it again.",
        )
