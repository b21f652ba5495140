"""What every runtime promises: which artifacts it loads, whether it works here, and a session that answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache
from typing import TYPE_CHECKING, ClassVar

from pennyweight.core import YES, Verdict, no
from pennyweight.errors import BadInputError, MissingExtraError

if TYPE_CHECKING:
    from pennyweight.core import Artifact, ServeSpec, Session


class Runtime(ABC):
    """Executes finished models; one file is one runtime, found by its file name.

    `formats` are the artifact formats it loads, the preferred one first; `precisions` the values of
    `ServeSpec.precision` it can compute in; `extra` the optional dependency set that brings its library, named
    `package`; `load_s` about how many CPU seconds loading takes; `trees` whether it walks trees. `load` refuses with
    `BadInputError` what it cannot execute, with `CorruptError` files that do not hold what they should, and with
    `MissingExtraError` when the library is not installed.
    """

    formats: ClassVar[tuple[str, ...]]
    precisions: ClassVar[tuple[str, ...]]
    package: ClassVar[str]
    extra: ClassVar[str]
    load_s: ClassVar[float] = 1.0
    trees: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """The runtime's name: that of its file."""
        return type(self).__module__.rpartition(".")[2]

    @abstractmethod
    def available(self) -> Verdict:
        """Say whether it works on this machine; a refusal has a reason. Imports nothing heavy."""

    @abstractmethod
    def load(self, artifact: Artifact, serve: ServeSpec) -> Session:
        """Return a session that answers batches of any size and is fastest at `serve.batch`."""

    def prepare(self, artifact: Artifact, serve: ServeSpec) -> Artifact:
        """Return the artifact in the form this runtime loads fastest; unchanged where there is none better."""
        del serve
        return artifact

    def takes(self, artifact: Artifact, serve: ServeSpec) -> Verdict:
        """Say whether `load` would accept an artifact of this format in this precision."""
        if artifact.format not in self.formats:
            return no(f"{self.name} loads {' or '.join(self.formats)}, not {artifact.format}")
        if serve.precision not in self.precisions:
            return no(f"{self.name} computes in {' or '.join(self.precisions)}, not {serve.precision}")
        if serve.threads < 1 or serve.batch < 1:
            return no(f"{serve.threads} threads and batches of {serve.batch} serve nothing")
        return YES

    def check(self, artifact: Artifact, serve: ServeSpec) -> None:
        """Raise what `load` must raise before it reads a single byte."""
        verdict = self.takes(artifact, serve)
        if not verdict:
            raise BadInputError(
                f"{verdict.reason[0].upper()}{verdict.reason[1:]}.",
                f"export the model as {self.formats[0]} and use {self.precisions[0]}, or choose another runtime.",
            )
        if not installed(self.package):
            raise MissingExtraError.of(self.package, self.extra)


@cache
def installed(library: str) -> bool:
    """Whether a library could be imported, found out without importing it."""
    from importlib.util import find_spec

    return find_spec(library) is not None
