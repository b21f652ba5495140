"""Let another runtime execute the finished model, in another precision, on another number of threads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self, final

from pennyweight import runtimes
from pennyweight.core import YES, Form, Kind, Lever, Stage, no
from pennyweight.errors import BadInputError, NoEffectError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pennyweight.core import Job, ServeSpec, Spec, Verdict, Work

# The formats in which a model of each form can be written.
_WRITTEN = {
    Form.MODULE: frozenset({"torch", "onnx"}),
    Form.ESTIMATOR: frozenset({"sklearn", "onnx"}),
    Form.GRAPH: frozenset({"onnx"}),
}


@final
@dataclass(frozen=True, slots=True)
class Runtime(Lever):
    """Serve with the runtime `to` (its file name), computing in `precision` on `threads` cores."""

    to: str = "onnxruntime"
    precision: str = "float32"
    threads: int = 1

    stage: ClassVar[Stage] = Stage.SERVE
    source: ClassVar[str] = (
        "The manuals: ONNX Runtime, Performance, Tune performance (onnxruntime.ai); OpenVINO, Running inference, "
        "Optimize inference (docs.openvino.ai); PyTorch, torch.compile (pytorch.org)"
    )
    trust: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        kind = runtimes.load(self.to)
        if self.precision not in kind.precisions or self.threads < 1:
            raise BadInputError(
                f"{self.to} cannot compute in {self.precision} on {self.threads} threads.",
                f"use {' or '.join(kind.precisions)} on one thread or more.",
            )

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """Every runtime that works here on what the job's model can be written as; other precisions after float32."""
        serve = job.spec.serve
        kinds = {name: runtimes.load(name) for name in runtimes.names()}
        able = {name: kind for name, kind in kinds.items() if _WRITTEN[job.spec.form] & {*kind.formats}}
        found = [cls(name, each, serve.threads) for name, kind in able.items() for each in kind.precisions]
        asked = cls(serve.runtime, serve.precision, serve.threads)
        for lever in sorted(found, key=lambda each: each.precision != "float32"):
            if lever != asked and kinds[lever.to].available():
                yield lever

    def fits(self, spec: Spec) -> Verdict:
        """Fits if the model, as it is by now, can be written in a format that the runtime loads."""
        kind = runtimes.load(self.to)
        if _WRITTEN[spec.form].isdisjoint(kind.formats):
            what = {Form.GRAPH: "a quantised graph", Form.MODULE: "a torch module"}.get(spec.form, "an estimator")
            return no(f"{self.to} loads {' or '.join(kind.formats)}, and {what} cannot be written as that")
        if not kind.trees and spec.has(Kind.TREE):
            return no(f"{self.to} has no operator for trees; use onnxruntime")
        if self._serves(spec.serve):
            return no(f"{self.to} in {self.precision} on {self.threads} threads is what serves it already")
        return kind.available() and YES

    def rewrite(self, spec: Spec) -> Spec:
        """Change who serves; what there is to compute stays, how fast that goes is the predictor's to know."""
        serve = replace(spec.serve, runtime=self.to, precision=self.precision, threads=self.threads)
        return replace(spec, serve=serve)

    def pull(self, work: Work) -> Work:
        """Name the runtime; the engine exports the model to it and loads it there."""
        if self._serves(work.spec.serve):
            raise NoEffectError(f"{self.to} serves it already.", "choose another runtime, precision or thread count.")
        return work.having(spec=self.rewrite(work.spec))

    def _serves(self, serve: ServeSpec) -> bool:
        return (serve.runtime, serve.precision, serve.threads) == (self.to, self.precision, self.threads)
