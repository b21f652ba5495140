"""PyTorch without compilation: every operator on its own; the yardstick of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np

from pennyweight.core import YES, Verdict, no
from pennyweight.errors import BadInputError
from pennyweight.runtimes.base import Runtime, installed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pennyweight.core import Artifact, ServeSpec, Session


class Torch(Runtime):
    """Loads "torch": an operator graph in JSON with its tensors in safetensors."""

    formats: ClassVar[tuple[str, ...]] = ("torch",)
    precisions: ClassVar[tuple[str, ...]] = ("float32", "bfloat16")
    package: ClassVar[str] = "torch"
    extra: ClassVar[str] = "torch"

    def available(self) -> Verdict:
        """Whether the library is installed."""
        return YES if installed(self.package) else no(f"{self.package} is not installed: pennyweight[{self.extra}]")

    def load(self, artifact: Artifact, serve: ServeSpec) -> Session:
        """Return a session; the number of threads is PyTorch's own and holds for the whole process."""
        self.check(artifact, serve)
        return TorchSession(restore(artifact, serve), serve, artifact.facts)


@final
class TorchSession:
    """Answers with a module, eager or compiled, its weights and activations in float32 or bfloat16."""

    __slots__ = ("_dtype", "_model", "_threads", "_wide")

    def __init__(self, model: Any, serve: ServeSpec, facts: dict[str, Any]) -> None:
        self._model = model
        self._threads = serve.threads
        self._dtype = np.dtype(facts.get("input_dtype", "float32"))
        self._wide = serve.precision == "float32" or self._dtype.kind != "f"

    def predict(self, x: NDArray[Any]) -> NDArray[Any]:
        """Answer a batch `(B, ...)`; raises `BadInputError` if the shape does not fit the model."""
        import torch

        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        given = torch.from_numpy(np.require(x, self._dtype, ["C", "W"]))  # PyTorch warns of what may not be written
        try:
            with torch.inference_mode():
                answer: NDArray[Any] = self._model(given if self._wide else given.bfloat16()).float().numpy()
        except RuntimeError as error:
            raise BadInputError(
                f"The model cannot answer an input of shape {x.shape}: {str(error).strip().splitlines()[0]}",
                "give a batch of the shape named in the artifact's manifest.",
            ) from error
        return answer


def restore(artifact: Artifact, serve: ServeSpec) -> Any:
    """The module of an artifact in the precision that `serve` asks for; raises `CorruptError` if it holds none."""
    from pennyweight.runtimes.torch_graph import decode

    model = decode(artifact)
    return model.bfloat16() if serve.precision == "bfloat16" else model
