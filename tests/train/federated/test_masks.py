import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pennyweight.errors import CorruptError
from pennyweight.train.federated.masks import RANGE, Line, Masker, from_grid, needed, to_grid, unmasked
from pennyweight.train.federated.sharing import (
    FIELD,
    PRIME,
    agreed,
    joined,
    opened,
    private_key,
    public_key,
    sealed,
    shares,
)


def arctan(over, digits):
    """The arc tangent of 1/over times 2**digits."""
    total, term, n = 0, 2**digits // over, 1
    while term:
        total += term // n if n % 4 == 1 else -(term // n)
        term //= over**2
        n += 2
    return total


def test_the_group_is_that_of_the_standard():
    digits = 2100
    pi = 4 * (4 * arctan(5, digits) - arctan(239, digits))
    assert 2**2048 - 2**1984 - 1 + 2**64 * ((pi * 2**1918 >> digits) + 124476) == PRIME


@given(st.integers(0, 2**256 - 1), st.integers(2, 7), st.integers(0, 3))
def test_enough_shares_give_the_secret_back_and_one_fewer_do_not(secret, needed_, more):
    found = shares(secret, list(range(needed_ + more)), needed_)
    kept = dict(list(found.items())[more:])
    assert joined(kept) == secret
    fewer = dict(list(kept.items())[1:])
    assert joined(fewer) != secret
    assert FIELD > 2**256


def test_two_agree_on_a_key_and_a_changed_note_is_refused():
    mine, theirs = private_key(), private_key()
    key = agreed(mine, public_key(theirs))
    assert key == agreed(theirs, public_key(mine))
    note = sealed(b"a secret of some length", key, "1>2")
    assert opened(note, key, "1>2") == b"a secret of some length"
    assert b"secret" not in note
    for wrong, about in ((note[:-1] + b"x", "1>2"), (note, "2>1"), (b"x" + note[1:], "1>2")):
        with pytest.raises(CorruptError):
            opened(wrong, key, about)
    for bad in (b"\0" * 256, b"\1", (1).to_bytes(256, "big"), (PRIME - 1).to_bytes(256, "big")):
        with pytest.raises(CorruptError):
            agreed(mine, bad)


def everybody(count, lines=None):
    maskers = {i: Masker(i, lines[i] if lines else Line()) for i in range(count)}
    keys = {i: each.keys() for i, each in maskers.items()}
    notes = {i: each.shares(keys, needed(count)) for i, each in maskers.items()}
    inbox = {i: {j: notes[j][i] for j in maskers if j != i} for i in maskers}
    return maskers, keys, inbox


@settings(max_examples=5)
@given(st.integers(3, 6), st.integers(0, 2), st.integers(0, 100))
def test_the_sum_comes_out_although_some_die_after_they_have_masked(count, dead, seed):
    dead = min(dead, count - needed(count))
    updates = np.random.default_rng(seed).normal(size=(count, 50))
    maskers, keys, inbox = everybody(count)
    masked = {i: each.masked(to_grid(updates[i], count), inbox[i]) for i, each in maskers.items()}
    alive, gone = list(range(dead, count)), list(range(dead))
    told = {i: maskers[i].told(alive, gone) for i in alive}
    total = sum((masked[i] for i in alive), np.zeros(50, np.uint32))
    result = from_grid(unmasked(total, told, keys, alive), count)
    assert np.allclose(result, updates[dead:].sum(0), atol=count**2 * RANGE / 2**31)


def test_a_masked_update_looks_like_chance_and_two_rounds_have_nothing_in_common():
    lines = [Line() for _ in range(3)]
    seen = []
    for _ in range(2):
        maskers, _, inbox = everybody(3, lines)
        seen.append(maskers[0].masked(np.zeros(20_000, np.uint32), inbox[0]))
    for each in seen:
        counts = np.histogram(each, bins=16, range=(0, 2**32))[0]
        assert ((counts - 1250) ** 2 / 1250).sum() < 50  # chi-square of 15 degrees of freedom, p = 1e-5
    assert (seen[0] == seen[1]).mean() < 0.001


def test_a_client_tells_only_one_secret_of_each_and_only_once():
    maskers, _, inbox = everybody(3)
    maskers[0].masked(np.zeros(4, np.uint32), inbox[0])
    with pytest.raises(CorruptError, match="both"):
        maskers[0].told([0, 1], [1, 2])
    maskers[0].told([0, 1], [2])
    with pytest.raises(CorruptError, match="both"):
        maskers[0].told([0, 2], [1])


def test_too_few_shares_bare_nothing():
    maskers, keys, inbox = everybody(5)
    masked = [each.masked(np.zeros(100, np.uint32), inbox[i]) for i, each in maskers.items()]
    told = {i: maskers[i].told([0, 1], [2, 3, 4]) for i in (0, 1)}
    total = masked[0] + masked[1]
    with pytest.raises(CorruptError, match="do not fit"):
        unmasked(total, told, keys, [0, 1])
