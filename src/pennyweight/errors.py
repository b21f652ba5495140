"""Everything that can go wrong, each as one sentence and the fix; the command line turns the type into an exit code."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, ClassVar, Self

if TYPE_CHECKING:
    from collections.abc import Iterable


class PennyweightError(Exception):
    """A problem a person can act on: `problem` says what is wrong, `fix` what to do about it."""

    exit_code: ClassVar[int] = 1

    def __init__(self, problem: str, fix: str) -> None:
        self.problem = problem
        self.fix = fix
        super().__init__(f"{problem} To fix: {fix}")

    def __reduce__(self) -> tuple[type[Self], tuple[str, str]]:
        return type(self), (self.problem, self.fix)


class BadInputError(PennyweightError):
    """What was given cannot be used as it is: a missing file, a wrong column, NaN in the data, a contradiction."""

    exit_code = 2


class UnknownNameError(BadInputError):
    """A name that is in no catalog; the message lists the nearest ones."""

    @classmethod
    def of(cls, what: str, name: str, known: Iterable[str]) -> Self:
        """Build the error for `name`, an unknown `what`, naming the nearest of `known`."""
        names = sorted(known)
        near = get_close_matches(name, names, n=3, cutoff=0.4) or names[:8]
        choice = ", ".join(near) if near else "none is installed"
        return cls(f"There is no {what} named {name!r}.", f"use one of: {choice}.")


class FloorUnreachableError(PennyweightError):
    """Not even the job done as asked keeps the floor."""

    exit_code = 3


class OverBudgetError(PennyweightError):
    """A limit in dollars, seconds or bytes would be broken."""

    exit_code = 4


class CorruptError(PennyweightError):
    """A file does not hold what its manifest or its hash says."""

    exit_code = 5


class MissingExtraError(PennyweightError):
    """A command needs a library that is not installed."""

    exit_code = 6

    @classmethod
    def of(cls, library: str, extra: str) -> Self:
        """Build the error for a `library` that the optional dependency set `extra` would bring."""
        return cls(f"This needs {library}, which is not installed.", f"pip install 'pennyweight[{extra}]'")


class UntraceableError(PennyweightError):
    """A model whose operations cannot be listed without running it on real data."""

    exit_code = 7


class NoEffectError(PennyweightError):
    """A lever was pulled and nothing moved."""

    exit_code = 8


class StorageError(PennyweightError):
    """The ledger or a file cannot be written: the disk is full, failing or read-only, or another process holds it."""

    exit_code = 9


class LostError(PennyweightError):
    """Another worker of a team that trains together is gone."""

    exit_code = 10
