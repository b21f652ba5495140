"""What keeping answers saves and takes: the laws of a cache in front of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pennyweight.core import ServeSpec, Spec

LOOK_S = 4.5e-6
"""Core seconds to look an example up, and to keep its answer where there was none (rows of 8 to 64 numbers, Zen 5)."""
_ENTRY_BYTE = 400.0  # of Python objects, beside the row and its answer
_VALUE_BYTE = 4.0


def answered_s(computed_s: float, serve: ServeSpec) -> float:
    """Core seconds of an example that takes `computed_s` where it is computed: ``(1 - hits) computed_s + look_s``."""
    return (1 - serve.hits) * computed_s + LOOK_S if serve.cache else computed_s


def computed_s(answered_s: float, serve: ServeSpec) -> float:
    """The inverse of `answered_s`: what computing takes, where on average so much was measured."""
    return max(0.0, answered_s - LOOK_S) / (1 - serve.hits) if serve.cache else answered_s


def kept_byte(spec: Spec) -> float:
    """Memory of the answers that a spec keeps."""
    return bytes_kept(spec.serve.cache, spec.data.row_byte, spec.data.classes)


def bytes_kept(rows: int, row_byte: float, values: int) -> float:
    """Memory of `rows` answers of so many `values` (at least one), each beside its row."""
    return rows * (row_byte + _VALUE_BYTE * max(1, values) + _ENTRY_BYTE)
