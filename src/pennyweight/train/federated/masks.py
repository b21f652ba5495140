"""Secure aggregation: every client hides its update behind masks that cancel in the sum of all.

After Bonawitz et al. (2017), simplified. Each pair of clients agrees on a mask that one adds and the other takes away;
each adds one more of its own. Seeds are shared out among all (Shamir), so that the masks of a client that dies after
the others have masked can be taken away, and a client that is merely slow is still hidden by its own mask.

It protects against a server that follows the protocol and looks at all it gets, together with fewer clients than are
needed to join the shares. It does not protect against a server that hands out false public keys or lies about who is
gone to different clients (keys are not signed, the list is not agreed on), against clients that send wrong updates on
purpose, nor against what the sum itself tells, for which there is differential privacy.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING, final

import numpy as np

from pennyweight.errors import CorruptError
from pennyweight.train.federated.sharing import agreed, joined, opened, private_key, public_key, sealed, shares

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_HALF = 2**31 - 1
_SEED_BYTE = 32
RANGE = 8.0  # numbers of an update beyond it are cut off


def needed(clients: int) -> int:
    """How many of the clients that were asked must be left to take away the masks: more than half."""
    return clients // 2 + 1


def to_grid(x: NDArray[np.float64], clients: int) -> NDArray[np.uint32]:
    """Numbers (N,) on a grid modulo 2³² on which the sum over `clients` does not run over."""
    scale = _HALF / (clients * RANGE)
    return np.round(np.clip(x, -RANGE, RANGE) * scale).astype(np.int64).astype(np.uint32)


def from_grid(x: NDArray[np.uint32], clients: int) -> NDArray[np.float64]:
    """The sum of what `clients` have put on the grid."""
    return x.astype(np.int32).astype(np.float64) * (clients * RANGE / _HALF)


def mask(seed: bytes, length: int) -> NDArray[np.uint32]:
    """Numbers (N,) that nobody without the seed can tell from chance (SHAKE-256)."""
    return np.frombuffer(hashlib.shake_256(seed).digest(4 * length), "<u4")


@final
class Line:
    """What one client talks to others by, round after round."""

    def __init__(self) -> None:
        self._private = private_key()
        self.public = public_key(self._private)
        self._found: dict[bytes, bytes] = {}

    def key(self, public: bytes) -> bytes:
        """The key it shares with whoever has told `public`."""
        if public not in self._found:
            self._found[public] = agreed(self._private, public)
        return self._found[public]


@final
class Masker:
    """One client's side of one round; `number` is its own, `line` what it talks by, in this round and others."""

    def __init__(self, number: int, line: Line) -> None:
        self._number, self._line = number, line
        self._mask = private_key()
        self._own = secrets.token_bytes(_SEED_BYTE)
        self._keys: dict[int, tuple[bytes, bytes]] = {}
        self._held: dict[int, tuple[bytes, bytes]] = {}
        self._told = False

    def keys(self) -> tuple[bytes, bytes]:
        """The public keys: one to talk by, one for masks, which may be found out if this client dies."""
        return self._line.public, public_key(self._mask)

    def shares(self, keys: Mapping[int, tuple[bytes, bytes]], least: int) -> dict[int, bytes]:
        """For every client of the round, sealed shares of the two secrets; any `least` of them give them back."""
        self._keys = dict(keys)
        owners = sorted(keys)
        own = shares(int.from_bytes(self._own, "big"), owners, least)
        pair = shares(self._mask, owners, least)
        self._held[self._number] = own[self._number], pair[self._number]
        return {
            other: sealed(own[other] + pair[other], self._line.key(keys[other][0]), self._about(self._number, other))
            for other in owners
            if other != self._number
        }

    def masked(self, grid: NDArray[np.uint32], notes: Mapping[int, bytes]) -> NDArray[np.uint32]:
        """The update (N,) on the grid behind all masks; `notes` are the shares that the others have sent here."""
        for other, note in notes.items():
            both = opened(note, self._line.key(self._keys[other][0]), self._about(other, self._number))
            self._held[other] = both[: len(both) // 2], both[len(both) // 2 :]
        total = grid + mask(self._own, len(grid))
        for other in notes:
            pair = mask(agreed(self._mask, self._keys[other][1]), len(grid))
            total = total + pair if other > self._number else total - pair
        return total

    def _about(self, sender: int, owner: int) -> str:
        """What a note is about: who has sealed it for whom in which round, as the fresh key of the sender tells."""
        return f"{sender}>{owner} {self._keys[sender][1].hex()}"

    def told(self, alive: list[int], gone: list[int]) -> dict[int, bytes]:
        """Of each client that sent its update the share of its own mask, of each that is gone that of its key.

        Raises `CorruptError` when asked for both of one, or asked twice: together they would bare its update.
        """
        if self._told or set(alive) & set(gone):
            raise CorruptError("The server asks for both secrets of a client.", "do not trust this server.")
        self._told = True
        found = {each: self._held[each][0] for each in alive if each in self._held}
        return found | {each: self._held[each][1] for each in gone if each in self._held}


def unmasked(
    total: NDArray[np.uint32],
    told: Mapping[int, Mapping[int, bytes]],
    keys: Mapping[int, tuple[bytes, bytes]],
    alive: list[int],
) -> NDArray[np.uint32]:
    """The sum (N,) over the clients `alive` without masks; `told` is what each of those left has told of each client.

    `keys` are the public keys of all who have masked against each other. Raises `CorruptError` where shares are too few
    or wrong.
    """
    owners = {each: {teller: known[each] for teller, known in told.items() if each in known} for each in keys}
    total = total.copy()
    for each in alive:
        total -= mask(_seed(joined(owners[each])), len(total))
    for each in sorted(set(keys) - set(alive)):
        private = joined(owners[each])
        if private >= 2 ** (8 * _SEED_BYTE) or public_key(private) != keys[each][1]:
            raise CorruptError(f"The shares of client {each} do not fit its key.", "leave the round out.")
        for other in alive:
            pair = mask(agreed(private, keys[other][1]), len(total))
            # `other` has added it if `each` is the larger number, else taken it away
            total = total - pair if each > other else total + pair
    return total


def _seed(secret: int) -> bytes:
    if secret >= 2 ** (8 * _SEED_BYTE):
        raise CorruptError("The shares of a mask do not fit each other.", "leave the round out.")
    return secret.to_bytes(_SEED_BYTE, "big")
