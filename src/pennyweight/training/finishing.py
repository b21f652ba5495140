"""A trained model as an artifact that runs anywhere, with probes to prove itself."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pennyweight import backends, runtimes
from pennyweight.engine.answers import with_probes
from pennyweight.engine.together import with_memory
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
    artifact = replace(prepared, meta=tuple(sorted(facts.items())))
    session = runtime.load(artifact, serve)
    artifact = with_probes(artifact, session, job.material.splits.select.x, job=job.name, plan=f"train {run}")
    return with_memory(artifact, work, session)
