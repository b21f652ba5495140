"""Keep the training data packed: narrow numbers in compressed columns, bit for bit what they were."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar, Self, final

from pennyweight.core import YES, Form, Lever, Stage, no
from pennyweight.data.columnar import Packed, Packing, pack
from pennyweight.data.splits import Arrays
from pennyweight.errors import NoEffectError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from pennyweight.core import Job, Spec, Verdict, Work

_WORTH = 0.9  # of the bytes: above, packing is not worth the reading


@final
@dataclass(frozen=True, slots=True)
class Columnar(Lever):
    """Store the training rows as Parquet shards and train on what is read back from them: the same bits.

    `to` is a new folder or URL in which they stay; by default they are packed in memory, measured, and let go.
    """

    codec: str = "zstd"
    to: str = ""

    stage: ClassVar[Stage] = Stage.DATA
    source: ClassVar[str] = "Melnik et al. 2010, Dremel; Collet and Kucherawy 2021, Zstandard (RFC 8878)"
    trust: ClassVar[float] = 0.25  # paper compresses a sample

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """The one that keeps every bit, where it makes the data smaller."""
        if job.spec.data.packs <= _WORTH:
            yield cls()

    def fits(self, spec: Spec) -> Verdict:
        """Fits data that becomes smaller and is not packed yet, before anything is trained on it."""
        if spec.form not in {Form.MODULE, Form.ESTIMATOR}:
            return no("the model is finished; pack the data before it is trained")
        if spec.data.stored < 1:
            return no("the training data is packed already")
        if not all(find_spec(name) for name in ("pyarrow", "fsspec")):
            return no("it needs pyarrow and fsspec: pip install 'pennyweight[data]'")
        return YES if spec.data.packs <= _WORTH else no("packed, the rows would be hardly smaller")

    def rewrite(self, spec: Spec) -> Spec:
        """The bytes that a sample came to."""
        return replace(spec, data=replace(spec.data, stored=spec.data.packs))

    def pull(self, work: Work) -> Work:
        """Pack the rows, read them back, and say what they really take."""
        train = work.data.train
        given = {"x": train.x, "y": train.y, "groups": train.groups, "weight": train.weight, "texts": train.texts}
        columns = {name: each for name, each in given.items() if each is not None}
        with _somewhere(self.to) as place:
            made = pack({"train": columns}, place, Packing(self.codec))
            found = Packed.at(place).arrays("train")
        share = made.byte / made.raw_byte
        if share >= 1:
            raise NoEffectError("Packed, the training rows take as many bytes as before.", "leave columnar out.")
        read = Arrays(found["x"], found["y"], found.get("groups"), found.get("weight"), found.get("texts"))
        spec = replace(work.spec, data=replace(work.spec.data, stored=share))
        return work.having(data=replace(work.data, train=read), spec=spec)


@contextmanager
def _somewhere(to: str) -> Generator[str]:
    """The place asked for, or one in memory that is gone in the end."""
    if to:
        yield to
        return
    from fsspec.implementations.memory import MemoryFileSystem

    path = f"/pennyweight-{secrets.token_hex(8)}"
    try:
        yield f"memory:/{path}"
    finally:
        files = MemoryFileSystem()
        if files.exists(path):
            files.rm(path, recursive=True)
