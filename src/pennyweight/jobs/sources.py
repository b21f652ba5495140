"""What people keep data in (recipes, tables, arrays, folders of images, text) as parts that can be packed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.data.columnar import Packing, Rows, pack, pack_tokens
from pennyweight.data.columnar.shards import arrow
from pennyweight.data.columnar.writing import PARTS
from pennyweight.errors import BadInputError
from pennyweight.jobs.pictures import pictures
from pennyweight.jobs.recipe import load_recipe
from pennyweight.jobs.table import columns

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from pennyweight.data.columnar import Manifest

    Arrays = dict[str, np.ndarray]

WHOLE = "rows"
_TABLES = (".csv", ".parquet")
_TEXT_SHARES = (0.9, 0.95)  # of a text, in order: train, select, certify


@dataclass(frozen=True, slots=True)
class Source:
    """Named parts of named columns, or of one stream of tokens; `about` is kept beside them."""

    parts: Mapping[str, Mapping[str, np.ndarray] | Rows]
    about: dict[str, Any] = field(default_factory=dict)

    def pack(self, to: str, packing: Packing) -> Manifest:
        """Write it all to a folder or URL."""
        if "vocabulary" not in self.about:
            return pack(self.parts, to, packing, **self.about)
        tokens = {name: part["tokens"] for name, part in self.parts.items() if not isinstance(part, Rows)}
        return pack_tokens(tokens, to, shard_byte=packing.shard_byte, **self.about)


def source(path: Path, *, data: Path | None = None, target: str | None = None, drop: Collection[str] = ()) -> Source:
    """Open a recipe (.py), a table (.csv, .parquet), arrays (.npz), a text (.txt), or a folder of tables or of classes.

    `data` is what the recipe reads, `target` the column of a table that is the answer, `drop` those left out.
    """
    if not path.exists():
        raise BadInputError(f"There is no {path}.", "check the path.")
    if path.suffix == ".py":
        splits = load_recipe(path, data).material.splits
        return Source({name: _given(getattr(splits, name)) for name in PARTS})
    if path.suffix == ".npz":
        return Source(_npz(path))
    if path.suffix == ".txt":
        return _text(path)
    if path.suffix in _TABLES:
        return _tables([path], target, drop)
    if path.is_dir():
        files = sorted(each for each in path.iterdir() if each.suffix in _TABLES)
        return _tables(files, target, drop) if files else _folder(path)
    raise BadInputError(
        f"{path.name} is no known kind of data.", "give a .py, .csv, .parquet, .npz or .txt file, or a folder."
    )


def _folder(path: Path) -> Source:
    rows, classes = pictures(path)
    return Source({WHOLE: rows}, {"classes": classes})


def _given(rows: Any) -> Arrays:
    every = {name: getattr(rows, name) for name in ("x", "y", "groups", "weight")}
    return {name: each for name, each in every.items() if each is not None}


def _npz(path: Path) -> dict[str, Arrays]:
    """Arrays x and y, or x_train, y_train, x_test … with one part for each ending."""
    parts: dict[str, Arrays] = {}
    try:
        with np.load(path, allow_pickle=False) as file:
            for key in file.files:
                column, _, part = key.partition("_")
                parts.setdefault(part or WHOLE, {})[column] = file[key]
    except (ValueError, OSError, EOFError) as error:
        raise BadInputError(f"{path.name} cannot be read as arrays: {error}.", "save it with numpy.savez.") from error
    if not parts:
        raise BadInputError(f"{path.name} holds no arrays.", "save x and y in it.")
    return parts


def _text(path: Path) -> Source:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BadInputError(f"{path.name} is not text in UTF-8.", "save it in UTF-8.") from error
    if not text:
        raise BadInputError(f"{path.name} is empty.", "give a text to learn from.")
    codes = np.frombuffer(text.encode("utf-32-le"), "<u4")
    alphabet, tokens = np.unique(codes, return_inverse=True)
    ends = [round(share * len(tokens)) for share in _TEXT_SHARES]
    parts = {name: {"tokens": part} for name, part in zip(PARTS, np.split(tokens, ends), strict=True)}
    return Source(parts, {"vocabulary": len(alphabet), "alphabet": "".join(map(chr, alphabet.tolist()))})


def _tables(paths: list[Path], target: str | None, drop: Collection[str]) -> Source:
    """Tables of the same columns, one after the other."""
    read = [columns(path, drop=drop) if path.suffix == ".csv" else _parquet(path, drop) for path in paths]
    for path, found in zip(paths[1:], read[1:], strict=True):
        _same(paths[0], read[0], path, found)
    joined = {name: np.concatenate([each[name] for each in read]) for name in read[0]}
    if target is not None and target not in joined:
        raise BadInputError(f"There is no column {target!r}.", f"use one of: {', '.join(list(joined)[:8])}.")
    return Source({WHOLE: joined}, {} if target is None else {"target": target})


def _same(first: Path, wanted: Arrays, path: Path, found: Arrays) -> None:
    if list(wanted) != list(found):
        odd = sorted(set(wanted) ^ set(found)) or list(found)
        raise BadInputError(
            f"{path.name} has other columns than {first.name}: {', '.join(odd[:5])}.", "give both the same columns."
        )
    for name, one in wanted.items():
        if (one.dtype.kind in "US") != (found[name].dtype.kind in "US"):
            raise BadInputError(
                f"Column {name!r} changes type: {_kind(one)} in {first.name}, {_kind(found[name])} in {path.name}.",
                f"give it one type in every file, or leave it out: drop {name!r}.",
            )


def _kind(column: np.ndarray) -> str:
    return "text" if column.dtype.kind in "US" else str(column.dtype)


def _parquet(path: Path, drop: Collection[str]) -> Arrays:
    pa = arrow()
    try:
        table = pa.parquet.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise BadInputError(f"{path.name} is no Parquet file.", "check the file.") from error
    return {name: _column(name, table.column(name), path) for name in table.column_names if name not in drop}


def _column(name: str, found: Any, path: Path) -> np.ndarray:
    made: np.ndarray = found.to_numpy()
    if made.dtype.kind == "O" and all(isinstance(each, str) for each in made):
        made = made.astype(str)
    if made.dtype.kind not in "fiubU":
        raise BadInputError(f"Column {name!r} of {path.name} is {found.type}.", f"leave it out: drop {name!r}.")
    return made
