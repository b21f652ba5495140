"""Tensors of a checkpoint as numbers: whole, or some rows of a matrix; each read from its file when it is asked for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from pennyweight.backends.large.grids import torch_type
from pennyweight.engine.shrinking.streaming import fill
from pennyweight.errors import BadInputError, CorruptError
from pennyweight.store.disk import explained

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray
    from torch import Tensor as Values

    from pennyweight.store.checkpoints import Checkpoint, Tensor

_EMBEDDING = "embed_tokens.weight"


def local(name: str, number: int) -> str:
    """The name of a tensor within its block."""
    return name.partition(f".{number}.")[2]


def raw(tensor: Tensor) -> NDArray[np.uint8]:
    """The bytes of a tensor."""
    room = np.empty(tensor.byte, np.uint8)
    with explained(tensor.file, "a shard"):
        handle = os.open(tensor.file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fill(handle, room, tensor, 0)
    finally:
        os.close(handle)
    return room


def values(body: NDArray[np.uint8], dtype: str) -> Values:
    """Bytes of floats as float32."""
    import torch

    return torch.from_numpy(body).view(torch_type(dtype)).float()


def read_block(sources: Mapping[str, Tensor], number: int) -> dict[str, Values]:
    """The tensors of block `number` as float32, by their names within it.

    Raises `CorruptError` for one that holds what is no finite number.
    """
    found = {}
    for name, each in sources.items():
        weight = values(raw(each), each.dtype).view(each.shape)
        if not bool(weight.isfinite().all()):
            raise CorruptError(f"A weight of {name!r} in {each.file} is infinite or no number.", "download it again.")
        found[local(name, number)] = weight
    return found


def embedding(source: Checkpoint, width: int, most: int) -> Tensor:
    """The table of the words of a model, which must be so wide and know token number `most`.

    Raises `BadInputError` if there is none, or if the tokenizer is of another model.
    """
    table = next((each for name, each in source.tensors.items() if name.endswith(_EMBEDDING)), None)
    if table is None or table.shape[1:] != (width,):
        raise BadInputError(f"No {_EMBEDDING!r} is as wide as the model.", "download the whole model.")
    if most >= table.shape[0]:
        raise BadInputError(
            f"The tokenizer knows more than the {table.shape[0]} words of the model.",
            "download tokenizer.json and weights of one version of the model.",
        )
    return table


def rows_of(table: Tensor) -> Callable[[NDArray[np.int64]], Values]:
    """What reads rows of a matrix, given by their numbers, as float32."""
    width = table.byte // table.shape[0]

    def rows(numbers: NDArray[np.int64]) -> Values:
        room = np.empty((len(numbers), width), np.uint8)
        with explained(table.file, "a shard"), table.file.open("rb", buffering=0) as file:
            for place, number in enumerate(numbers):
                file.seek(table.start + int(number) * width)
                file.readinto(room[place].data)
        return values(room.reshape(-1), table.dtype).view(len(numbers), -1)

    return rows


def slab(table: Tensor, begin: int, end: int) -> Values:
    """The rows of a matrix from `begin` to `end`, as float32."""
    width = table.byte // table.shape[0]
    room = np.empty((end - begin) * width, np.uint8)
    with explained(table.file, "a shard"):
        handle = os.open(table.file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fill(handle, room, table, begin * width)
    finally:
        os.close(handle)
    return values(room, table.dtype).view(end - begin, -1)
