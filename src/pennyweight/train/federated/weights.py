"""A model's weights as one vector, how they go over the wire in few bytes, and what a rule makes of updates."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.errors import BadInputError, CorruptError
from pennyweight.train.distributed.compressors import Zipped
from pennyweight.train.distributed.exchange import Packed
from pennyweight.train.distributed.naming import exchange

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray
    from torch import nn

    from pennyweight.train.distributed.codec import Codec

_FIRST, _SECOND, _FLOOR = 0.9, 0.99, 1e-3  # of FedAdam


def flat(model: nn.Module) -> NDArray[np.float32]:
    """All floating-point numbers of the model's state, one after another (N,), as a copy."""
    import torch

    parts = _parts(model).values()
    array: NDArray[np.float32] = torch.cat([each.detach().reshape(-1).float() for each in parts]).numpy()
    return array


def fill(model: nn.Module, numbers: NDArray[Any]) -> None:
    """Give the model the numbers (N,); variances that noise or momentum has made negative are zero."""
    import torch

    parts = _parts(model)
    vector = torch.from_numpy(np.array(numbers, dtype=np.float32))
    pieces = vector.split([each.numel() for each in parts.values()])
    with torch.no_grad():
        for (name, each), piece in zip(parts.items(), pieces, strict=True):
            each.copy_(piece.view_as(each))
            if name.endswith("running_var"):
                each.clamp_(min=0.0)


def _parts(model: nn.Module) -> dict[str, Any]:
    return {name: each for name, each in model.state_dict(keep_vars=True).items() if each.is_floating_point()}


def codec(name: str) -> Codec | None:
    """The compressor of that name, as for gradients; None for an empty one. Raises `BadInputError` for others.

    What needs all workers at once cannot pack one client's update, and bytes of strangers are not unzipped.
    """
    found = exchange(name) if name else None
    if found is None:
        return None
    if not isinstance(found, Packed) or isinstance(found.codec, Zipped):
        raise BadInputError(f"{name!r} does not compress single updates.", "use int8, int4 or topk:0.1+int8.")
    return found.codec


def unpacked(code: Codec, packed: NDArray[np.uint8], count: int) -> NDArray[np.float32]:
    """The numbers (`count`,) in `packed`; raises `CorruptError` for bytes that are none."""
    import torch

    try:
        numbers: NDArray[np.float32] = code.unpack(torch.from_numpy(packed.copy()), count).numpy()
    except (ValueError, RuntimeError, IndexError, TypeError, zlib.error) as error:
        raise CorruptError("A packed vector cannot be unpacked.", "look at who sent it.") from error
    if numbers.shape != (count,):
        raise CorruptError("A packed vector is too short.", "look at who sent it.")
    return numbers


@final
class Packer:
    """Packs one vector after another; what a code loses is added to the next (Seide et al. 2014: error feedback)."""

    def __init__(self, code: Codec) -> None:
        self._code = code
        self._untold = np.zeros(1)

    def whole(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """`x` (N,) and what has not been told yet."""
        return x + self._untold

    def packed(self, whole: NDArray[np.float64]) -> NDArray[np.uint8]:
        """The bytes for it; keeps what they do not tell."""
        import torch

        code = self._code.pack(torch.from_numpy(whole.astype(np.float32)))
        self._untold = whole - self._code.unpack(code, len(whole)).numpy()
        return np.asarray(code)


@final
class Told:
    """What clients know of the weights: all of them at first, later how they move, if a `code` makes that shorter.

    Whoever has missed a move is told all again. Facts are told once and hold until they change.
    """

    def __init__(self, code: Codec | None) -> None:
        self._code = code
        self._known = np.zeros(0, np.float32)
        self._have: set[int] = set()
        self._facts: dict[int, dict[str, Any]] = {}

    def arrays(self, weights: NDArray[np.float64], clients: Collection[int]) -> dict[int, dict[str, Any]]:
        """What to send to each of `clients` so that it has `weights` (N,), or nearly."""
        if self._code is None or not self._have & set(clients):
            self._known, self._have = weights.astype(np.float32), set()
            return {each: {"weights": self._known} for each in clients}
        import torch

        move = self._code.pack(torch.from_numpy((weights - self._known).astype(np.float32)))
        self._known += self._code.unpack(move, len(weights)).numpy()
        arrays = {True: {"move": np.asarray(move)}, False: {"weights": self._known}}
        return {each: dict(arrays[each in self._have]) for each in clients}

    def news(self, client: int, facts: dict[str, Any]) -> dict[str, Any]:
        """Those of the facts that the client has not been told, or that have changed."""
        old = self._facts.get(client, {})
        self._facts[client] = facts
        return {name: value for name, value in facts.items() if name not in old or old[name] != value}

    def heard(self, clients: Collection[int]) -> None:
        """Say that these have answered, and so have the weights."""
        self._have = set(clients)


@final
class Rule:
    """Moves the server's weights by the mean update, by `number` as the rule `name` says.

    "fedavg" (McMahan et al. 2017) goes all the way, as does "fedprox" (Li et al. 2020), which differs at the clients
    only; "fedavgm" has momentum (Hsu et al. 2019), in Nesterov's form; "fedadam" moves as Adam would (Reddi et al.
    2021, algorithm 2, with τ = 1e-3).
    """

    def __init__(self, name: str, number: float) -> None:
        self._name, self._number = name, number
        self._mean: Any = 0.0
        self._square: Any = _FLOOR**2

    def move(self, weights: NDArray[np.float64], update: NDArray[np.float64]) -> NDArray[np.float64]:
        """The next weights (N,)."""
        if self._name == "fedavgm":
            self._mean = self._number * self._mean + update
            step: NDArray[np.float64] = update + self._number * self._mean
            return weights + step
        if self._name != "fedadam":
            return weights + update
        self._mean = _FIRST * self._mean + (1 - _FIRST) * update
        self._square = _SECOND * self._square + (1 - _SECOND) * np.square(update)
        moved: NDArray[np.float64] = weights + self._number * self._mean / (np.sqrt(self._square) + _FLOOR)
        return moved
