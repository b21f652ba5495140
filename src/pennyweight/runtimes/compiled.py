"""PyTorch compiled by Inductor to C++ for the usual batch; other batches run as they are."""

from __future__ import annotations

import shutil
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np

from pennyweight.core import YES, Verdict, no
from pennyweight.runtimes.base import Runtime, installed
from pennyweight.runtimes.torch import TorchSession, restore

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pennyweight.core import Artifact, ServeSpec, Session


class Compiled(Runtime):
    """Loads "torch" and compiles it when loaded, which takes a minute where other runtimes take milliseconds."""

    formats: ClassVar[tuple[str, ...]] = ("torch",)
    precisions: ClassVar[tuple[str, ...]] = ("float32", "bfloat16")
    load_s: ClassVar[float] = 60.0
    package: ClassVar[str] = "torch"
    extra: ClassVar[str] = "torch"

    def available(self) -> Verdict:
        """Whether PyTorch and the C++ compiler that Inductor calls are installed."""
        if not installed(self.package):
            return no(f"{self.package} is not installed: pennyweight[{self.extra}]")
        return YES if _compiler() else no("Inductor needs a C++ compiler: install g++, or name one in CXX")

    def load(self, artifact: Artifact, serve: ServeSpec) -> Session:
        """Return a session compiled for batches of `serve.batch`; raises `BadInputError` if Inductor cannot."""
        self.check(artifact, serve)
        import torch

        model, facts = restore(artifact, serve), artifact.facts
        compiled = torch.compile(model, dynamic=False, options={"freezing": True})
        session = CompiledSession(model, compiled, serve, facts)
        if "input_shape" in facts:
            # The compiler runs at the first call, which belongs to loading and not to the first prediction.
            session.predict(np.zeros((serve.batch, *facts["input_shape"]), dtype=facts.get("input_dtype", "float32")))
        return session


@final
class CompiledSession:
    """The compiled module for the usual batch and the plain one for others, which would each compile anew."""

    __slots__ = ("_batch", "_compiled", "_plain")

    def __init__(self, model: Any, compiled: Any, serve: ServeSpec, facts: dict[str, Any]) -> None:
        self._batch = serve.batch
        self._plain = TorchSession(model, serve, facts)
        self._compiled = TorchSession(compiled, serve, facts)

    def predict(self, x: NDArray[Any]) -> NDArray[Any]:
        """Answer a batch `(B, ...)`; raises `BadInputError` if the shape does not fit the model."""
        return (self._compiled if len(x) == self._batch else self._plain).predict(x)


@cache
def _compiler() -> str | None:
    import os

    return shutil.which(os.environ.get("CXX", "g++")) or shutil.which("c++") or shutil.which("clang++")
