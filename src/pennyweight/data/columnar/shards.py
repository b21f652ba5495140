"""Columns as a Parquet file and back: rows of many numbers as fixed-size bytes, single numbers and text as they are."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.data.columnar.column import TEXT, Column
from pennyweight.errors import BadInputError, CorruptError, MissingExtraError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Codes = dict[str, NDArray[Any]]

CODECS = ("zstd", "lz4", "snappy", "gzip", "none")


def arrow() -> Any:
    """The library itself; raises `MissingExtraError` if it is not installed."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as _  # ruff: ignore[unused-import] - makes the submodule an attribute of the package
    except ImportError as error:
        raise MissingExtraError.of("pyarrow", "data") from error
    return pa


def as_parquet(columns: Sequence[Column], codes: Codes, group: int, codec: str) -> bytes:
    """Stored columns, each (N, ...), as the bytes of a Parquet file in groups of `group` rows.

    Floats are split into streams of their first, second … bytes, which compress better than the numbers.
    """
    if codec not in CODECS:
        raise UnknownNameError.of("codec", codec, CODECS)
    pa = arrow()
    table = pa.table({column.name: _array(column, codes[column.name]) for column in columns})
    file = io.BytesIO()
    pa.parquet.write_table(
        table,
        file,
        row_group_size=group,
        compression=codec,
        use_dictionary=[column.name for column in columns if column.form == TEXT],
        column_encoding={column.name: "BYTE_STREAM_SPLIT" for column in columns if column.floats} or None,
        write_statistics=False,
    )
    return file.getvalue()


def opened(source: Any, columns: Sequence[Column], name: str) -> Any:
    """A Parquet file over the Arrow buffer `source`; its columns must have the types that the manifest promises."""
    pa = arrow()
    try:
        file = pa.parquet.ParquetFile(source)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise CorruptError(f"Shard {name} is no Parquet file.", "restore it, or pack again.") from error
    found = {field.name: field.type for field in file.schema_arrow}
    for column in columns:
        wanted = _type(column)
        if column.name not in found:
            raise BadInputError(f"Column {column.name!r} is missing in shard {name}.", "pack the data again.")
        if found[column.name] != wanted:
            raise BadInputError(
                f"Column {column.name!r} changes type: {wanted} by the manifest, {found[column.name]} in shard {name}.",
                "give the column one type throughout and pack the data again.",
            )
    return file


def group_rows(file: Any, groups: Sequence[int], columns: Sequence[Column], name: str) -> Codes:
    """The stored columns of some row groups: views of the buffers they were decoded to where that is possible."""
    pa = arrow()
    try:
        table = file.read_row_groups(list(groups), columns=[column.name for column in columns], use_threads=False)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise CorruptError(f"Shard {name} cannot be decoded: {error}.", "restore it, or pack again.") from error
    return {column.name: _numbers(column, table.column(column.name)) for column in columns}


def _type(column: Column) -> Any:
    pa = arrow()
    if column.form == TEXT:
        return pa.string()
    if column.shape:
        return pa.binary(column.stored_byte)
    return pa.from_numpy_dtype(np.dtype(column.stored))


def _array(column: Column, codes: NDArray[Any]) -> Any:
    pa = arrow()
    if column.form == TEXT:
        return pa.array(codes.tolist(), pa.string())
    flat = pa.py_buffer(np.ascontiguousarray(codes))
    return pa.Array.from_buffers(_type(column), len(codes), [None, flat])


def _numbers(column: Column, found: Any) -> NDArray[Any]:
    parts = [_part(column, chunk) for chunk in found.chunks]
    if len(parts) == 1:
        return parts[0]
    empty = np.empty((0, *column.shape), object if column.form == TEXT else column.stored)
    return np.concatenate(parts) if parts else empty


def _part(column: Column, chunk: Any) -> NDArray[Any]:
    if chunk.null_count:
        raise CorruptError(f"Column {column.name!r} has holes it was not written with.", "pack the data again.")
    if column.form == TEXT:
        made: NDArray[Any] = chunk.to_numpy(zero_copy_only=False)
        return made
    each = np.dtype(column.stored)
    start = chunk.offset * column.stored_byte
    count = len(chunk) * column.cell
    return np.frombuffer(chunk.buffers()[1], each, count, start).reshape(len(chunk), *column.shape)
