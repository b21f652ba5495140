"""The real thing: the spec plus live handles on the model and the data."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pennyweight.core.spec import Spec


@dataclass(frozen=True, slots=True)
class Work:
    """What a backend opens and levers change.

    `model` is what `spec.form` says (an nn.Module, an estimator, bytes of an ONNX model); `data` are the disjoint
    splits, of which levers may look at the training split only, those of serving at the select split too; `material`
    is the job's own. Levers never change a handle in place: they return a new Work around a changed copy, made
    reproducible by `seed`.
    """

    spec: Spec
    model: Any = field(repr=False)
    data: Any = field(repr=False)
    seed: int = 0
    trained: bool = False
    material: Any = field(default=None, repr=False)

    def having(self, **changes: Any) -> Self:
        """Return a copy with some fields replaced."""
        return replace(self, **changes)
