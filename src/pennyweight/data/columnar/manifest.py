"""What a packed data set holds, in one JSON file: columns, parts, and the size and SHA-256 of every shard."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any, Self, final

from pennyweight.data.columnar.column import Column
from pennyweight.errors import BadInputError, CorruptError

NAME = "manifest.json"
ROWS, TOKENS = "rows", "tokens"
_VERSION = 1
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,120}")
_AGAIN = "pack the data again."


@final
@dataclass(frozen=True, slots=True)
class Shard:
    """One file: its `rows`, its size and the SHA-256 of its bytes."""

    name: str
    rows: int
    byte: int
    sha256: str


@final
@dataclass(frozen=True, slots=True)
class Part:
    """One split: its shards in order; each is made of groups of `group` rows that can be read alone."""

    group: int
    shards: tuple[Shard, ...]

    @property
    def rows(self) -> int:
        """The rows of all shards."""
        return sum(shard.rows for shard in self.shards)


@final
@dataclass(frozen=True, slots=True)
class Manifest:
    """The whole data set; `kind` is "rows" or "tokens", `raw_byte` its size in memory, `about` what else is known."""

    kind: str
    columns: tuple[Column, ...]
    parts: dict[str, Part]
    raw_byte: int
    codec: str
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def byte(self) -> int:
        """The bytes of all shards."""
        return sum(shard.byte for part in self.parts.values() for shard in part.shards)

    @property
    def rows(self) -> int:
        """The rows of all parts."""
        return sum(part.rows for part in self.parts.values())

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of everything the manifest says, shards included."""
        return sha256(json.dumps(self._facts(), sort_keys=True).encode()).hexdigest()

    def part(self, name: str) -> Part:
        """The part of that name; raises `BadInputError` that names those there are."""
        if name not in self.parts:
            raise BadInputError(f"There is no part {name!r}.", f"use one of: {', '.join(self.parts)}.")
        return self.parts[name]

    def text(self) -> bytes:
        """The manifest as JSON."""
        return json.dumps({**self._facts(), "fingerprint": self.fingerprint}, indent=1).encode()

    @classmethod
    def read(cls, body: bytes, where: str) -> Self:
        """The manifest that `body` holds; raises `CorruptError` if it is broken or was changed."""
        try:
            facts = json.loads(body)
            made = cls._of(facts, where)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorruptError(f"The {NAME} of {where} is damaged.", _AGAIN) from error
        if made.fingerprint != facts.get("fingerprint") or made.kind not in {ROWS, TOKENS}:
            raise CorruptError(f"The {NAME} of {where} was changed after it was written.", _AGAIN)
        return made

    @classmethod
    def _of(cls, facts: dict[str, Any], where: str) -> Self:
        if facts["pennyweight"] != "columnar" or facts["version"] != _VERSION:
            raise CorruptError(f"{where} was packed by another version.", _AGAIN)
        columns = tuple(Column.of(each) for each in facts["columns"])
        parts = {name: _part(each) for name, each in facts["parts"].items()}
        return cls(facts["kind"], columns, parts, int(facts["raw_byte"]), facts["codec"], facts["about"])

    def _facts(self) -> dict[str, Any]:
        return {
            "pennyweight": "columnar",
            "version": _VERSION,
            "kind": self.kind,
            "columns": [column.facts() for column in self.columns],
            "parts": {name: asdict(part) for name, part in self.parts.items()},
            "raw_byte": self.raw_byte,
            "codec": self.codec,
            "about": self.about,
        }


def _part(facts: dict[str, Any]) -> Part:
    shards = tuple(Shard(**each) for each in facts["shards"])
    for shard in shards:
        if not _PLAIN.fullmatch(shard.name) or shard.rows < 0 or shard.byte < 0:
            raise CorruptError(f"There is a shard named {shard.name!r}.", _AGAIN)
    return Part(max(1, int(facts["group"])), shards)
