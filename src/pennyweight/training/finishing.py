"""A trained model as an artifact that runs anywhere, with probes to prove itself."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pennyweight import backends, runtimes
from pennyweight.backends.torch_cached import RAGGED_FILE, ContinuesTogether, to_cached_onnx
from pennyweight.core import Task
from pennyweight.engine.answers import with_probes
from pennyweight.errors import MissingExtraError, UntraceableError
from pennyweight.store.codec import plain

if TYPE_CHECKING:
    from pennyweight.core import Artifact, Job, Work
    from pennyweight.engine import Shop


def finished(work: Work, job: Job, shop: Shop, run: str) -> Artifact:
    """The model in the form its runtime likes best, loaded there once, with its run's name on board."""
    serve = replace(work.spec.serve, batch=job.demand.batch)
    runtime = runtimes.load(serve.runtime)
    work = work.having(spec=replace(work.spec, serve=serve))
    prepared = runtime.prepare(backends.load(job.backend).export(work, runtime.formats[0]), serve)
    facts = {**prepared.facts, "serve": plain(serve), "run": run, "sheet": shop.sheet.id}
    artifact = replace(prepared, files=(*prepared.files, *_together(work)), meta=tuple(sorted(facts.items())))
    session = runtime.load(artifact, serve)
    return with_probes(artifact, session, job.material.splits.select.x, job=job.name, plan=f"train {run}")


def _together(work: Work) -> tuple[tuple[str, bytes], ...]:
    """The graph that continues many texts at once, for a language model that can; without it texts are read again."""
    if work.spec.data.task is not Task.LANGUAGE or not isinstance(work.model, ContinuesTogether):
        return ()
    try:
        return ((RAGGED_FILE, to_cached_onnx(work.model, ragged=True)),)
    except (UntraceableError, MissingExtraError):
        return ()
