"""The seam: one cost-saving method, on paper and for real."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pennyweight.core.job import Job
    from pennyweight.core.spec import Spec
    from pennyweight.core.work import Work


class Stage(IntEnum):
    """When a lever is pulled; plans keep their levers in this order."""

    DATA = 1
    TRAIN = 2
    COMPRESS = 3
    SERVE = 4
    PLACE = 5


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a lever fits, and if not, why, in words a person can act on."""

    ok: bool
    reason: str = ""

    def __bool__(self) -> bool:
        return self.ok


YES = Verdict(ok=True)


def no(reason: str) -> Verdict:
    """Refuse, with the reason."""
    return Verdict(ok=False, reason=reason)


class Lever(ABC):
    """A cost-saving method; subclasses are final frozen dataclasses whose fields are the knobs.

    `stage` says when it is pulled, `source` names the paper or manual it follows, and `trust` how far (as a share)
    the counted cost of the really changed model may be from `rewrite`'s.
    """

    stage: ClassVar[Stage]
    source: ClassVar[str]
    trust: ClassVar[float] = 0.0

    @property
    def name(self) -> str:
        """The lever's name: that of its file."""
        return type(self).__module__.rpartition(".")[2]

    @classmethod
    @abstractmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """Settings worth trying on this job, mildest first."""

    @abstractmethod
    def fits(self, spec: Spec) -> Verdict:
        """Say whether it can be pulled on this spec; a refusal has a reason."""

    @abstractmethod
    def rewrite(self, spec: Spec) -> Spec:
        """Return what the spec would be, on paper."""

    @abstractmethod
    def pull(self, work: Work) -> Work:
        """Do it for real; raise `NoEffectError` if nothing changed."""

    def __str__(self) -> str:
        """The name with the first knob and those that are not as usual."""
        knobs = fields(self)  # type: ignore[arg-type]  # every lever is a dataclass
        told = [f for n, f in enumerate(knobs) if n == 0 or getattr(self, f.name) != f.default]
        return f"{self.name}({', '.join(f'{f.name}={_short(getattr(self, f.name))}' for f in told)})"


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
