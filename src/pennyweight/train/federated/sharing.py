"""Secrets in shares (Shamir 1979), keys agreed in public (Diffie and Hellman 1976), and sealed notes."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING

from pennyweight.errors import CorruptError

if TYPE_CHECKING:
    from collections.abc import Mapping

FIELD = 2**521 - 1  # a Mersenne prime above all secrets of 256 bits
_SHARE_BYTE, _SECRET_BYTE, _TAG_BYTE = 66, 32, 32
KEY_BYTE = 256
# The 2048-bit group of RFC 3526: 2^2048 - 2^1984 - 1 + 2^64 * (floor(2^1918 * pi) + 124476).
PRIME = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B"
    "302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7EDEE386BFB5A899FA5AE9F24117C4B1FE6"
    "49286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB9ED529077096966D"
    "670C354E4ABC9804F1746C08CA18217C32905E462E36CE3BE39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF695581718"
    "3995497CEA956AE515D2261898FA051015728E5A8AACAA68FFFFFFFFFFFFFFFF",
    16,
)


def private_key() -> int:
    """A private key of 256 bits."""
    return secrets.randbits(8 * _SECRET_BYTE - 1) | 1


def public_key(private: int) -> bytes:
    """The key to tell everybody."""
    return pow(2, private, PRIME).to_bytes(KEY_BYTE, "big")


def agreed(private: int, public: bytes) -> bytes:
    """The 32 bytes that two who know each other's public keys both find; raises `CorruptError` for a bad key."""
    other = int.from_bytes(public, "big")
    if len(public) != KEY_BYTE or not 1 < other < PRIME - 1:
        raise CorruptError("A public key is none.", "look at who sent it.")
    return hashlib.sha256(pow(other, private, PRIME).to_bytes(KEY_BYTE, "big")).digest()


def shares(secret: int, owners: list[int], needed: int) -> dict[int, bytes]:
    """A share of `secret` for every owner (numbers from 0), any `needed` of which give it back and fewer nothing."""
    factors = [secret, *(secrets.randbelow(FIELD) for _ in range(needed - 1))]
    found = {}
    for owner in owners:
        value = 0
        for factor in reversed(factors):
            value = (value * (owner + 1) + factor) % FIELD
        found[owner] = value.to_bytes(_SHARE_BYTE, "big")
    return found


def joined(found: Mapping[int, bytes]) -> int:
    """The secret that the shares are of, if there are enough of them."""
    points = {owner + 1: int.from_bytes(share, "big") for owner, share in found.items()}
    secret = 0
    for x, value in points.items():
        over = under = 1
        for other in points:
            if other != x:
                over = over * other % FIELD
                under = under * (other - x) % FIELD
        secret = (secret + value * over * pow(under, -1, FIELD)) % FIELD
    return secret


def sealed(note: bytes, key: bytes, about: str) -> bytes:
    """`note` so that only who has `key` can read it or make one like it; `about` must be different every time."""
    stream = hashlib.shake_256(key + b"seal" + about.encode()).digest(len(note))
    hidden = bytes(a ^ b for a, b in zip(note, stream, strict=True))
    return hidden + _tag(hidden, key, about)


def opened(note: bytes, key: bytes, about: str) -> bytes:
    """What was sealed; raises `CorruptError` if it was changed on the way or was sealed with another key."""
    hidden, tag = note[:-_TAG_BYTE], note[-_TAG_BYTE:]
    if not hmac.compare_digest(tag, _tag(hidden, key, about)):
        raise CorruptError("A sealed note was changed on its way.", "look at the server that handed it on.")
    stream = hashlib.shake_256(key + b"seal" + about.encode()).digest(len(hidden))
    return bytes(a ^ b for a, b in zip(hidden, stream, strict=True))


def _tag(hidden: bytes, key: bytes, about: str) -> bytes:
    return hmac.digest(key, b"tag" + about.encode() + hidden, "sha256")
