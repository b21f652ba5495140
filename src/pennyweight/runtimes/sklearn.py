"""scikit-learn's own prediction, one process and as many threads as asked for: the control of every table job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np

from pennyweight.core import YES, Verdict, no
from pennyweight.errors import BadInputError, CorruptError
from pennyweight.runtimes.base import Runtime, installed
from pennyweight.runtimes.sklearn_arrays import decode

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pennyweight.core import Artifact, ServeSpec, Session


class SklearnRuntime(Runtime):
    """Loads "sklearn" and calls `predict_proba` or `predict`, checks included, as its users do."""

    formats: ClassVar[tuple[str, ...]] = ("sklearn",)
    precisions: ClassVar[tuple[str, ...]] = ("float32",)
    package: ClassVar[str] = "sklearn"
    extra: ClassVar[str] = "all"

    def available(self) -> Verdict:
        """Whether the library is installed."""
        return YES if installed(self.package) else no("scikit-learn is not installed: pip install scikit-learn")

    def load(self, artifact: Artifact, serve: ServeSpec) -> Session:
        """Return a session for batches of any size that uses `serve.threads` threads."""
        self.check(artifact, serve)
        model = decode(artifact)
        try:
            jobs = {name: serve.threads for name in model.get_params() if name.rpartition("__")[2] == "n_jobs"}
            session = _SklearnSession(model.set_params(**jobs), artifact.facts, serve.threads)
            session.predict(np.zeros((1, *artifact.facts["input_shape"]), dtype=np.float32))
        except Exception as error:  # a state that does not fit may fail anywhere in scikit-learn
            raise CorruptError(
                f"The stored scikit-learn model cannot answer ({type(error).__name__}: {error}).",
                "export it again from its job.",
            ) from error
        return session


@final
class _SklearnSession:
    def __init__(self, model: Any, facts: dict[str, Any], threads: int) -> None:
        kept, rest = _columns(model)
        self._kept = kept
        self._call: Callable[[NDArray[Any]], NDArray[Any]] = (
            rest.predict if facts["outputs"] == "values" else rest.predict_proba
        )
        if _uses_openmp(model):
            self._call = _limited(self._call, threads)
        self._shape = tuple(facts["input_shape"])

    def predict(self, x: NDArray[Any]) -> NDArray[Any]:
        """Answer a batch (B, features) with probabilities (B, C) or values (B,)."""
        if x.shape[1:] != self._shape:
            raise BadInputError(
                f"The model cannot answer an input of shape {x.shape}.", f"give rows of {self._shape[0]} features."
            )
        rows = x.astype(np.float32, copy=False)
        answer = self._call(rows if self._kept is None else rows[:, self._kept])
        return answer[:, 0] if answer.ndim == 2 and answer.shape[1] == 1 else answer


def _columns(model: Any) -> tuple[NDArray[np.intp] | None, Any]:
    """The columns that a first step chooses, and what follows it.

    Indexing does the same as that step, which costs more than most models: it checks its own settings at every call.
    """
    if not hasattr(model, "steps") or len(model.steps) < 2 or not hasattr(model.steps[0][1], "get_support"):
        return None, model
    rest = model.steps[1][1] if len(model.steps) == 2 else model[1:]
    return np.flatnonzero(model.steps[0][1].get_support()), rest


def _uses_openmp(model: Any) -> bool:
    """Histogram boosting spreads even one row over all cores unless it is held back."""
    steps = [step for _, step in model.steps] if hasattr(model, "steps") else [model]
    return any(hasattr(step, "_predictors") for step in steps)


def _limited(call: Callable[[NDArray[Any]], NDArray[Any]], threads: int) -> Callable[[NDArray[Any]], NDArray[Any]]:
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # it has no stubs

    pools = ThreadpoolController().select(user_api="openmp")

    def answer(x: NDArray[Any]) -> NDArray[Any]:
        with pools.limit(limits=threads):
            return call(x)

    return answer
