"""A version made ready: loaded, warm, and proved by its own probes before anybody is answered by it."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.core import ServeSpec
from pennyweight.engine.answers import answer, open_session, probes
from pennyweight.errors import BadInputError, CorruptError
from pennyweight.runtimes.kept import Kept
from pennyweight.serve.answering.lane import Lane, Terms
from pennyweight.serve.answering.shelf import Served
from pennyweight.serve.speaking.opening import open_choir, reads_text
from pennyweight.serve.versions import checkpoints
from pennyweight.serve.versions.registering import fetch
from pennyweight.serve.watch import reference
from pennyweight.serve.watch.seen import Seen

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor

    from numpy.typing import NDArray

    from pennyweight.core import Artifact, Session
    from pennyweight.serve.place import Drafted
    from pennyweight.serve.watch.reference import Reference
    from pennyweight.store.team.registry import Version
    from pennyweight.store.team.usage import Price

TOLERANCE = 1e-3
_UNDRAFTED = "serve a language model's checkpoint as a folder, or leave --draft out."
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


def ready(
    version: Version, price: Price, pool: Executor, draft: Drafted | None = None, keep: float | None = None
) -> Served:
    """Load a version, ask it its probes and let it warm up; takes as long as the runtime does.

    A checkpoint is made ready as `checkpoints` says; nothing else can have a `draft`. With `keep`, a share of answers,
    it can be watched, beside the reference that was recorded with it; models that read text are not. Raises
    `CorruptError` if it does not answer its probes as recorded, and what loading raises.
    """
    facts = checkpoints.facts_of(version)
    if facts is not None:
        return checkpoints.ready(version, facts, price, pool, draft)
    if draft is not None and draft.source:
        raise BadInputError(f"{version} reads one token at a time, so no guess of a draft can be checked.", _UNDRAFTED)
    artifact = fetch(version)
    answering = Answering(open_session(artifact), artifact)
    x, recorded = probes(artifact)
    prove(str(version), answering, x, recorded)
    serve = ServeSpec(**artifact.facts["serve"])
    lane = Lane(answering, pool, terms_of(serve))
    _warm(lane, (x[:1], x))
    seen = None if keep is None or reads_text(artifact) else Seen(keep, _reference(artifact, x, recorded))
    shape = tuple(artifact.facts["input_shape"])
    choir = open_choir(str(version), artifact, answering.session, pool)
    kept = Kept(serve.cache, serve.grid) if serve.cache else None
    return Served(version, lane, price, shape, seen, shape[0] if reads_text(artifact) else 1, choir, kept)


def terms_of(serve: ServeSpec) -> Terms:
    """How requests are taken, as the artifact says; who may wait for so long may also be computed for so long."""
    asked = Terms()
    if not serve.wait_s:
        return asked
    most = max(asked.most_rows, serve.most)
    return replace(
        asked, most_rows=most, target_s=max(asked.target_s, serve.wait_s), wait_s=serve.wait_s, gather=serve.most
    )


def _reference(artifact: Artifact, x: NDArray[Any], answers: NDArray[Any]) -> Reference | None:
    """The reference that was recorded with an artifact, if there is one; raises `CorruptError` if it is not its own."""
    found = reference.recorded(artifact)
    if found is None:
        return None
    own = reference.narrow(reference.flat(x)).shape[1], reference.flat(answers).shape[1]
    if (found.rows.shape[1], found.answers.shape[1]) != own:
        raise CorruptError("The reference of the artifact is that of another model.", "make the artifact again.")
    return found


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
