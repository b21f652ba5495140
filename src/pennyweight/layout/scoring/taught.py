"""What measured rows of one kind taught, as a section of a calibration file, and back."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pennyweight.errors import BadInputError
from pennyweight.layout.correction import Correction
from pennyweight.layout.rows import Rows
from pennyweight.layout.tables.finding import kind_named

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Taught:
    """What rows of one kind taught: where they are from and when, a correction per target, or the rows themselves.

    `accelerators` are those that the rows were measured on, by their names in the catalog, where they say so: plans for
    others are not moved.
    """

    source: str
    when: str
    corrections: Mapping[str, Correction] = field(default_factory=lambda: MappingProxyType({}))
    rows: Rows | None = None
    accelerators: tuple[str, ...] = ()

    @property
    def used(self) -> int:
        """How many rows count."""
        if self.rows is not None:
            return len(self.rows)
        return max((each.rows for each in self.corrections.values()), default=0)

    def text(self, kind: str) -> str:
        """As a section of TOML."""
        parts = [f"\n[{kind}]\nsource = {_quoted(self.source)}\nwhen = {_quoted(self.when)}\n"]
        if self.accelerators:
            parts.append(f"accelerators = [{', '.join(map(_quoted, self.accelerators))}]\n")
        for target, each in self.corrections.items():
            lines = [f"{name} = {value!r}" for name, value in each.to_dict().items()]
            parts.append("\n".join(["", f"[{kind}.targets.{target}]", *lines, ""]))
        if self.rows is not None:
            columns = {name: [str(text) for text in each] for name, each in self.rows.columns.items()}
            lines = [f"{_quoted(name)} = [{', '.join(map(_quoted, each))}]" for name, each in columns.items()]
            parts.append("\n".join(["", f"[{kind}.rows]", *lines, ""]))
        return "".join(parts)

    @classmethod
    def restore(cls, kind: str, body: Any) -> Self:
        """What `text` wrote, as it was read; what is none is refused."""
        kind_named(kind)
        if not isinstance(body, dict) or not {"source", "when"} <= body.keys():
            raise BadInputError(f"{kind} says not what it was learned from.", "calibrate again.")
        targets, columns = body.get("targets", {}), body.get("rows")
        if not isinstance(targets, dict) or not all(isinstance(each, dict) for each in targets.values()):
            raise BadInputError(f"{kind} has targets that are none.", "calibrate again.")
        if not targets and columns is None:
            raise BadInputError(f"{kind} has neither targets nor rows.", "calibrate again.")
        unknown = sorted(targets.keys() - kind_named(kind).targets.keys())
        if unknown:
            raise BadInputError(f"{kind} has no target {unknown[0]}.", "calibrate again.")
        on = body.get("accelerators", [])
        if not isinstance(on, list) or not all(isinstance(each, str) for each in on):
            raise BadInputError(f"{kind} has accelerators that are no list of names.", "calibrate again.")
        corrections = {name: Correction.from_dict(each) for name, each in targets.items()}
        rows = None if columns is None else _rows(columns)
        return cls(str(body["source"]), str(body["when"]), corrections, rows, tuple(on))


def _rows(columns: Any) -> Rows:
    good = isinstance(columns, dict) and columns and all(isinstance(each, list) for each in columns.values())
    lengths = {len(each) for each in columns.values()} if good else set()
    if len(lengths) != 1 or not lengths - {0}:
        raise BadInputError("The rows of a calibration are no columns of one length.", "calibrate again.")
    made = {name: np.array([str(text) for text in each], dtype=np.str_) for name, each in columns.items()}
    return Rows(made, np.arange(2, 2 + lengths.pop()))


def _quoted(text: str) -> str:
    safe = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(each if each.isprintable() else " " for each in safe) + '"'
