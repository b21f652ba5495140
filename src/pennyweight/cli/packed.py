"""`pennyweight pack` and `unpack`: what was stored, how small it became, and whether it is whole."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.cli.screen import say, say_json, say_table
from pennyweight.data.columnar import Packed, Packing, TokenStream
from pennyweight.data.columnar.manifest import TOKENS
from pennyweight.errors import BadInputError, CorruptError
from pennyweight.store.disk import put
from pennyweight.units import parse_bytes, si

if TYPE_CHECKING:
    from pathlib import Path

    from pennyweight.data.columnar import Manifest


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for beside source and destination."""

    data: Path | None
    target: str | None
    drop: tuple[str, ...]
    codec: str
    shard: str


def tell_packing(given: Path, to: str, wish: Wish, *, json: bool) -> None:
    """Pack a source and say what came of it."""
    from pennyweight.jobs.sources import source

    packing = Packing(wish.codec, round(parse_bytes(wish.shard)))
    made = source(given, data=wish.data, target=wish.target, drop=wish.drop).pack(to, packing)
    _tell(made, to, json=json)


def tell_unpacking(given: str, to: Path | None, *, check: bool, json: bool) -> None:
    """Check packed data, or write it to one file."""
    packed = Packed.at(given)
    if check == (to is not None):
        raise BadInputError("Either a file is written or shards are checked.", "give one of -o FILE and --check.")
    if to is not None:
        body = _written(packed, to.suffix)
        put(to, body, "the data")
        _said({"file": str(to), "byte": len(body)}, f"{to}: {si(len(body), 'B')}", json=json)
        return
    wrong = packed.check()
    if wrong:
        raise CorruptError(f"{given} is damaged. {' '.join(wrong)}", "restore these shards, or pack the data again.")
    shards = sum(len(part.shards) for part in packed.manifest.parts.values())
    said = f"{given}: all {shards} shards are whole ({si(packed.manifest.byte, 'B')})."
    _said({"whole": True, "shards": shards, "byte": packed.manifest.byte}, said, json=json)


def _said(facts: dict[str, Any], sentence: str, *, json: bool) -> None:
    if json:
        say_json(facts)
    else:
        say(sentence)


def _tell(made: Manifest, to: str, *, json: bool) -> None:
    if json:
        parts = {name: {"rows": part.rows, "shards": len(part.shards)} for name, part in made.parts.items()}
        facts = {"kind": made.kind, "parts": parts, "columns": [column.facts() for column in made.columns]}
        say_json({"to": to, **facts, "byte": made.byte, "raw_byte": made.raw_byte, "fingerprint": made.fingerprint})
        return
    rows = [
        [column.name, column.dtype, " × ".join(map(str, column.shape)) or "1", column.stored, column.form]
        for column in made.columns
    ]
    say_table("Columns", ["column", "type", "of shape", "stored as", "how"], rows)
    sizes = [
        [name, f"{part.rows:,}", f"{len(part.shards)}", si(sum(shard.byte for shard in part.shards), "B")]
        for name, part in made.parts.items()
    ]
    say_table("Parts", ["part", made.kind, "shards", "size"], sizes, (1, 2, 3))
    ratio = made.raw_byte / max(1, made.byte)
    times = f"{ratio:.3g} times smaller" if ratio >= 1 else f"{1 / ratio:.3g} times larger: so little needs no packing"
    say(f"{to}: {si(made.byte, 'B')} instead of {si(made.raw_byte, 'B')} in memory, {times}.")
    say(f"SHA-256 of it all: {made.fingerprint}")


def _written(packed: Packed, suffix: str) -> bytes:
    kinds = {".txt": _as_text, ".csv": _as_csv, ".npz": _as_npz}
    if suffix not in kinds:
        raise BadInputError(f"No file of kind {suffix or 'nothing'!r} can be written.", "name it .npz, .csv or .txt.")
    return kinds[suffix](packed)


def _as_npz(packed: Packed) -> bytes:
    arrays = {}
    for part in packed.manifest.parts:
        ending = f"_{part}" if len(packed.manifest.parts) > 1 else ""
        arrays.update({f"{name}{ending}": each for name, each in _columns(packed, part).items()})
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def _columns(packed: Packed, part: str) -> dict[str, Any]:
    if packed.manifest.kind == TOKENS:
        stream = TokenStream(packed, part)
        return {"tokens": stream.between(0, len(stream))}
    return packed.arrays(part)


def _as_csv(packed: Packed) -> bytes:
    if packed.manifest.kind == TOKENS or any(column.shape for column in packed.columns):
        raise BadInputError("This is no table of single values.", "write it as .npz.")
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([column.name for column in packed.columns])
    for part in packed.manifest.parts:
        found = packed.arrays(part)
        writer.writerows(zip(*(_cells(each) for each in found.values()), strict=True))
    return file.getvalue().encode()


def _cells(column: np.ndarray) -> list[Any]:
    if column.dtype.kind == "f":
        return ["" if np.isnan(each) else each for each in column.tolist()]
    return list(column.tolist())


def _as_text(packed: Packed) -> bytes:
    alphabet = packed.manifest.about.get("alphabet")
    if packed.manifest.kind != TOKENS or alphabet is None:
        raise BadInputError("This is no text.", "write it as .npz.")
    codes = np.array([ord(each) for each in alphabet], "<u4")
    streams = [TokenStream(packed, part) for part in packed.manifest.parts]
    return b"".join(codes[stream.between(0, len(stream))].tobytes().decode("utf-32-le").encode() for stream in streams)
