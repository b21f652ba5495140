"""What `pennyweight optimize` leaves behind: the report, the picture, and each winner with its certificate on board."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pennyweight.core import Artifact, Front, Job


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where to write what came out."""

    report: Path
    winner: Path
    picture: Path | None

    def check(self, jobs: Sequence[Job]) -> None:
        """Refuse before anything is spent what could not be written after it."""
        from pennyweight.store.artifacts import check_free
        from pennyweight.store.disk import check_plain

        names = Counter(job.name for job in jobs)
        if names.total() > len(names):
            twice = names.most_common(1)[0][0]
            raise BadInputError(f"Two of the recipes are called {twice!r}.", "give each job a name of its own.")
        check_plain(self.report)
        if self.picture:
            check_plain(self.picture)
        for name in names:
            check_free(self._place(name, alone=len(jobs) == 1))

    def write(self, fronts: Sequence[Front]) -> dict[str, dict[str, str]]:
        """Write them all; returns where they are, by job. Without a certificate there is no winner to write."""
        from pennyweight.engine import Shop
        from pennyweight.report.chart import front_picture
        from pennyweight.report.facts import front_facts
        from pennyweight.report.page import write_page
        from pennyweight.serve.watch.recording import with_sample
        from pennyweight.store.artifacts import save
        from pennyweight.store.disk import put

        write_page(self.report, fronts)
        if self.picture:
            put(self.picture, front_picture(front_facts(fronts[0])).encode(), "the picture")
        store, found = Shop.at().artifacts, {}
        for front in fronts:
            name = front.control.plan.job.name
            found[name] = {"report": str(self.report)}
            if front.certificate is not None:
                path = self._place(name, alone=len(fronts) == 1)
                save(_finished(with_sample(store.get(front.winner.artifact), front.control.plan.job), front), path)
                found[name]["winner_path"] = str(path)
        return found

    def _place(self, name: str, *, alone: bool) -> Path:
        if alone:
            return self.winner
        if "/" in name:
            raise BadInputError(f"The job {name!r} cannot name the folder of its winner.", "leave out the slash.")
        return self.winner.with_name(f"{name}{self.winner.suffix}")


def _finished(artifact: Artifact, front: Front) -> Artifact:
    """The winner's artifact with its bill and its certificate on board."""
    from pennyweight.report.facts import certificate_facts, front_facts, run_facts

    facts = front_facts(front)
    more = {
        "job": facts["job"],
        "run": run_facts(front.winner, front),
        "saving": facts["saving"],
        "certificate": certificate_facts(front.certificate) if front.certificate else None,
    }
    return replace(artifact, meta=tuple(sorted({**artifact.facts, **more}.items())))
