"""The eight laws of levers, each a function that raises `AssertionError` with a sentence where it is broken."""

from __future__ import annotations

import inspect
import re
import tempfile
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from pennyweight import backends, runtimes
from pennyweight.core import Job, Lever, Stage, Verdict, Work
from pennyweight.cost.activations import training_byte
from pennyweight.cost.count import count, count_training, data_byte
from pennyweight.engine.making import trained
from pennyweight.errors import NoEffectError
from pennyweight.store.artifacts import load, save
from pennyweight.testing.cases import cases_of, choices, counted, digest, fitting, model_digest, spec_in_kind, specs
from pennyweight.testing.jobs import tiny_jobs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pennyweight.core import Spec

    Law = Callable[[type[Lever], tuple[Job, ...]], None]

HEADINGS = (
    "What it does",
    "When to use it",
    "What it costs in quality",
    "What it composes with",
    "Source",
)
"""The headings of every lever's card, in this order."""

_CLOSE, _CLOSE_LOW = 1e-4, 0.05  # of the largest answer, in float32 and in lower precisions


def check_lever(kind: type[Lever], jobs: tuple[Job, ...] | None = None) -> None:
    """Hold a lever to all eight laws, on the tiny jobs or on yours; raises `AssertionError` for the first it breaks."""
    for law in LAWS:
        law(kind, jobs or tiny_jobs())


def it_is_a_final_frozen_hashable_value_with_a_source(kind: type[Lever], jobs: tuple[Job, ...]) -> None:
    """Law 1."""
    _held(getattr(kind, "__final__", False), f"{kind.__name__} may be subclassed; decorate it with typing.final")
    _held(is_dataclass(kind), f"{kind.__name__} is no dataclass")
    _held(vars(kind)["__dataclass_params__"].frozen, f"{kind.__name__} can be changed after it was made")
    _held(isinstance(kind.stage, Stage), f"{kind.__name__}.stage is no Stage")
    _held(re.search(r"\w{3}", kind.source), f"{kind.__name__} names no source")
    _held(0 <= kind.trust < 1, f"{kind.__name__}.trust is no share")
    for lever in choices(kind, jobs):
        twin = replace(cast("Any", lever))
        _held(twin == lever, f"{lever} is not equal to its copy")
        _held(hash(twin) == hash(lever), f"{lever} has another hash than its copy")
        _held(" at 0x" not in repr(lever), f"{lever} has a knob without a stable text, so plans cannot be recognised")


def it_fits_a_tiny_job_and_saves_something_on_paper(kind: type[Lever], jobs: tuple[Job, ...]) -> None:
    """Law 2."""
    names = ", ".join(job.name for job in jobs)
    _held(any(fitting(kind, job) for job in jobs), f"{kind.__name__} fits none of {names}")
    _held(cases_of(kind, jobs), f"{kind.__name__} saves nothing on paper on any of {names}")


def every_refusal_has_a_reason(kind: type[Lever], jobs: tuple[Job, ...]) -> None:
    """Law 3."""
    for lever in choices(kind, jobs):
        for spec in specs(kind, jobs):
            verdict = lever.fits(spec)
            _held(isinstance(verdict, Verdict), f"{lever}.fits gives a {type(verdict).__name__}")
            _held(verdict or len(verdict.reason.split()) >= 4, f"{lever} refuses without a reason: {verdict.reason!r}")


def paper_and_reality_agree(kind: type[Lever], jobs: tuple[Job, ...]) -> None:
    """Law 4: within the lever's trust, and one step of training, for paper counts epochs and reality steps.

    A lever that turns a module into a graph is held to what it does to the graph: what the conversion alone folds or
    spells out is counted on both sides.
    """
    for case in cases_of(kind, jobs):
        paper, real = case.lever.rewrite(spec_in_kind(case)), counted(case.job, case.after)
        if kind.stage is Stage.TRAIN:
            real = replace(real, train=trained(case.after).spec.train)
        for name, wanted, found in _compared(paper, real):
            off = abs(found - wanted) / max(abs(wanted), 1e-12) - _one_step(paper) * name.startswith("training")
            sentence = f"{case.lever} on {case.job.name}: {name} is {wanted:g} on paper and {found:g} in reality"
            _held(off <= kind.trust + 1e-9, sentence)


def pulled_twice_with_one_seed_it_gives_the_same_work(kind: type[Lever], jobs: tuple[Job, ...]) -> None:
    """Law 5."""
    for case in cases_of(kind, jobs):
        again = case.lever.pull(case.work)
        _held(digest(again) == digest(case.after), f"{case.lever} gives another work each time on {case.job.name}")


def it_changes_something_or_says_what_to_do(kind: type[Lever], jobs: tuple[Job, ...]) -> None:
    """Law 6: and it never changes the work it was given."""
    for case in cases_of(kind, jobs):
        _held(digest(case.work) == case.before, f"{case.lever} changed the work it was given on {case.job.name}")
        _held(digest(case.after) != case.before, f"{case.lever} changes nothing on {case.job.name}")
        same_model = kind.stage is Stage.COMPRESS and model_digest(case.after) == model_digest(case.work)
        _held(not same_model, f"{case.lever} changes the spec but not the model on {case.job.name}")
        if case.lever.fits(case.after.spec):
            _changes_or_explains(case.lever, case.after)


def it_has_a_card(kind: type[Lever], jobs: tuple[Job, ...]) -> None:
    """Law 7: docs/levers/<name>.md beside the source, with what it costs in quality as measured numbers."""
    del jobs
    name = kind.__module__.rpartition(".")[2]
    places = [parent / "docs" / "levers" / f"{name}.md" for parent in Path(inspect.getfile(kind)).resolve().parents]
    card = next((place for place in places if place.is_file()), Path())
    _held(card.is_file(), f"{name} has no card docs/levers/{name}.md")
    text = card.read_text(encoding="utf-8")
    _held(text.startswith(f"# {name}\n"), f"{card.name} does not begin with '# {name}'")
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    _held(tuple(parts[1::2]) == HEADINGS, f"{card.name} has the headings {parts[1::2]}, not {list(HEADINGS)}")
    for heading, body in zip(parts[1::2], parts[2::2], strict=True):
        _held(len(body.split()) >= 5, f"{card.name} says nothing under '{heading}'")
    _held(re.search(r"\d", parts[2 + 2 * 2]), f"{card.name} admits no measured number")


def its_work_survives_save_load_and_run(kind: type[Lever], jobs: tuple[Job, ...]) -> None:
    """Law 8: equal answers to 1e-4 of the largest in float32, to 5% in lower precisions."""
    for case in cases_of(kind, jobs)[-1:]:
        work = case.after if case.after.trained else trained(case.after)
        backend, serve = backends.load(case.job.backend), work.spec.serve
        runtime = runtimes.load(serve.runtime)
        artifact = runtime.prepare(backend.export(work, runtime.formats[0]), serve)
        with tempfile.TemporaryDirectory() as folder:
            session = runtime.load(load(save(artifact, Path(folder) / "model.pw")), serve)
        x = np.ascontiguousarray(work.data.select.x, dtype=artifact.facts["input_dtype"])
        wanted, found = backend.predict(work, x), np.asarray(session.predict(x))
        _held(wanted.shape == found.shape, f"{case.lever}: the answers changed shape from {wanted.shape}")
        close = _CLOSE if serve.precision == "float32" else _CLOSE_LOW
        off = np.abs(wanted - found).max() / max(1.0, np.abs(wanted).max())
        _held(off <= close, f"{case.lever} on {case.job.name}: answers are off by {off:.2g} after save and load")


LAWS: tuple[Law, ...] = (
    it_is_a_final_frozen_hashable_value_with_a_source,
    it_fits_a_tiny_job_and_saves_something_on_paper,
    every_refusal_has_a_reason,
    paper_and_reality_agree,
    pulled_twice_with_one_seed_it_gives_the_same_work,
    it_changes_something_or_says_what_to_do,
    it_has_a_card,
    its_work_survives_save_load_and_run,
)
"""The laws of levers, in order."""


class LeverLaws:
    """Inherit this in a test class and set `lever`; pytest then finds one test per law. `jobs` may be overridden."""

    lever: ClassVar[type[Lever]]

    @classmethod
    def jobs(cls) -> tuple[Job, ...]:
        """The jobs to try it on."""
        return tiny_jobs()

    def test_it_is_a_final_frozen_hashable_value_with_a_source(self) -> None:
        """Law 1."""
        it_is_a_final_frozen_hashable_value_with_a_source(self.lever, self.jobs())

    def test_it_fits_a_tiny_job_and_saves_something_on_paper(self) -> None:
        """Law 2."""
        it_fits_a_tiny_job_and_saves_something_on_paper(self.lever, self.jobs())

    def test_every_refusal_has_a_reason(self) -> None:
        """Law 3."""
        every_refusal_has_a_reason(self.lever, self.jobs())

    def test_paper_and_reality_agree(self) -> None:
        """Law 4."""
        paper_and_reality_agree(self.lever, self.jobs())

    def test_pulled_twice_with_one_seed_it_gives_the_same_work(self) -> None:
        """Law 5."""
        pulled_twice_with_one_seed_it_gives_the_same_work(self.lever, self.jobs())

    def test_it_changes_something_or_says_what_to_do(self) -> None:
        """Law 6."""
        it_changes_something_or_says_what_to_do(self.lever, self.jobs())

    def test_it_has_a_card(self) -> None:
        """Law 7."""
        it_has_a_card(self.lever, self.jobs())

    def test_its_work_survives_save_load_and_run(self) -> None:
        """Law 8."""
        its_work_survives_save_load_and_run(self.lever, self.jobs())


def _held(ok: object, sentence: str) -> None:
    if not ok:
        raise AssertionError(sentence)


def _one_step(spec: Spec) -> float:
    return min(1.0, spec.train.batch / (spec.data.rows * spec.train.epochs))


def _compared(paper: Spec, real: Spec) -> Iterator[tuple[str, float, float]]:
    one, other = count(paper), count(real)
    yield "FLOP", one.flop, other.flop
    yield "memory traffic", one.hbm_byte, other.hbm_byte
    yield "stored bytes", one.disk_byte, other.disk_byte
    yield "training rows", paper.data.rows, real.data.rows
    yield "stored training data", data_byte(paper), data_byte(real)
    yield "training FLOP", count_training(paper).flop, count_training(real).flop
    yield "bytes on the wire", count_training(paper).net_byte, count_training(real).net_byte
    yield "training memory", training_byte(paper), training_byte(real)


def _changes_or_explains(lever: Lever, work: Work) -> None:
    try:
        second = lever.pull(work)
    except NoEffectError as error:
        _held(error.fix, f"{lever} does not say what to do where it has no effect")
        return
    _held(digest(second) != digest(work), f"{lever} fits its own result and changes nothing there")
