import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pennyweight.data.splits import Arrays, check_finite, deal, shared_rows, split
from pennyweight.errors import BadInputError


def test_parts_are_disjoint_and_together_they_are_the_data():
    y = np.arange(1000) % 7
    parts = split(np.arange(1000), y, seed=3)
    rows = np.concatenate([parts.train.x, parts.select.x, parts.certify.x])
    assert sorted(rows) == list(range(1000))
    assert sum(parts.sizes) == 1000


def test_equal_seeds_give_equal_parts_and_others_do_not():
    x, y = np.arange(300), np.arange(300) % 3
    assert np.array_equal(split(x, y, seed=1).certify.x, split(x, y, seed=1).certify.x)
    assert not np.array_equal(split(x, y, seed=1).certify.x, split(x, y, seed=2).certify.x)


@given(st.lists(st.integers(3, 40), min_size=1, max_size=8), st.integers(0, 2**32 - 1))
def test_every_class_has_its_share_in_every_part(sizes, seed):
    y = np.repeat(np.arange(len(sizes)), sizes)
    parts = split(np.arange(len(y)), y, seed=seed)
    for part, share in zip((parts.train, parts.select, parts.certify), (0.6, 0.2, 0.2), strict=True):
        counts = np.bincount(part.y, minlength=len(sizes))
        assert (counts >= 1).all()
        assert (np.abs(counts - share * np.array(sizes)) <= 2).all()


def test_rounding_is_carried_on_so_that_the_parts_keep_their_size():
    y = np.repeat(np.arange(100), 14)
    assert np.abs(np.subtract(split(y, y).sizes, (840, 280, 280))).max() <= 1


@given(st.integers(3, 60), st.integers(0, 1000), st.booleans())
def test_a_group_never_straddles(n_groups, seed, stratify):
    generator = np.random.default_rng(seed)
    groups = np.concatenate([np.arange(n_groups), generator.integers(n_groups, size=4 * n_groups)])
    y = generator.normal(size=len(groups))
    parts = split(y, y, groups=groups, stratify=stratify, seed=seed)
    homes = [set(part.groups) for part in (parts.train, parts.select, parts.certify)]
    assert all(homes)
    assert sum(map(len, homes)) == len(set.union(*homes))


def test_groups_and_classes_together():
    generator = np.random.default_rng(0)
    groups = generator.integers(200, size=4000)
    y = (generator.random(4000) < 0.1 + 0.2 * (groups % 3)).astype(int)
    parts = split(np.arange(4000), y, groups=groups)
    for part, share in zip((parts.train, parts.select, parts.certify), (0.6, 0.2, 0.2), strict=True):
        assert abs(len(part) / 4000 - share) < 0.02
        assert abs(part.y.mean() - y.mean()) < 0.02


def test_a_class_too_small_for_three_parts_is_refused_with_what_to_do():
    y = np.array([0] * 20 + [7] * 2)
    with pytest.raises(BadInputError, match=r"Class 7 has 2 examples.*stratify=False"):
        split(y, y)
    assert sum(split(y, y, stratify=False).sizes) == 22


def test_a_class_in_too_few_groups_is_refused():
    groups = np.repeat(np.arange(10), 10)
    y = (groups == 4).astype(int)
    with pytest.raises(BadInputError, match="Class 1 has 1 group,"):
        split(y, y, groups=groups)


def test_values_and_sequences_are_dealt_without_classes():
    y = np.random.default_rng(0).normal(size=50)
    assert split(y, y).sizes == (30, 10, 10)
    tokens = np.zeros((50, 8), dtype=int)
    assert split(tokens, tokens).select.y.shape == (10, 8)


@pytest.mark.parametrize("shares", [(0.5, 0.5, 0.5), (1.0, 0.0, 0.0), (0.8, 0.4, -0.2)])
def test_shares_that_do_not_divide_the_data_are_refused(shares):
    with pytest.raises(BadInputError, match="add up to 1"):
        split(np.arange(10), np.zeros(10, dtype=int), shares=shares)


def test_too_few_rows_or_groups_are_refused():
    with pytest.raises(BadInputError, match="2 rows"):
        deal(2, (0.5, 0.3, 0.2))
    with pytest.raises(BadInputError, match="2 groups"):
        deal(10, (0.5, 0.3, 0.2), groups=np.arange(10) % 2)


def test_rows_of_unequal_number_are_refused():
    with pytest.raises(BadInputError, match="x has 3 rows but y has 2"):
        Arrays(np.zeros((3, 2)), np.zeros(2))


def test_take_keeps_what_belongs_together():
    arrays = Arrays(np.arange(4), np.arange(4) * 10, groups=np.array(list("abcd")), weight=np.arange(4) / 4)
    some = arrays.take(np.array([2, 0]))
    assert some.y.tolist() == [20, 0]
    assert some.groups.tolist() == ["c", "a"]
    assert some.weight.tolist() == [0.5, 0.0]


def test_holes_are_named_with_the_lever_that_fills_them():
    x = np.zeros((5, 20))
    x[1, 3] = np.nan
    x[1, 7] = np.inf
    with pytest.raises(BadInputError, match=r"columns 3, 7 of x, in 1 of 5 rows.*clean lever"):
        check_finite(Arrays(x, np.zeros(5)))
    x[2] = np.nan
    with pytest.raises(BadInputError, match="and 12 more"):
        check_finite(Arrays(x, np.zeros(5)))
    check_finite(Arrays(np.zeros((5, 2)), np.zeros(5, dtype=int)))
    check_finite(Arrays(np.zeros((5, 2), dtype=int), np.zeros(5)))


def test_holes_in_images_and_in_the_answers_are_refused():
    images = np.zeros((3, 1, 4, 4))
    images[0, 0, 0, 0] = np.nan
    with pytest.raises(BadInputError, match="in x, in 1 of 3 rows"):
        check_finite(Arrays(images, np.zeros(3)))
    with pytest.raises(BadInputError, match="y is NaN or infinite in 2 of 3 rows"):
        check_finite(Arrays(np.zeros(3), np.array([1.0, np.nan, np.inf])))


def test_rows_that_leak_from_one_part_to_another_are_counted():
    one, other = np.arange(12.0).reshape(6, 2), np.arange(8.0, 20.0).reshape(6, 2)
    assert shared_rows(Arrays(one, np.zeros(6)), Arrays(other, np.zeros(6))) == 2
