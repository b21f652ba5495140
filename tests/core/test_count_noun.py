import pytest
from hypothesis import given
from hypothesis import strategies as st

from pennyweight.core import Count

amounts = st.integers(min_value=0, max_value=10**15).map(float)
counts = st.builds(Count, amounts, amounts, amounts, amounts)


@given(counts, counts)
def test_counts_add_field_by_field(a, b):
    total = a + b
    assert (total.flop, total.hbm_byte) == (a.flop + b.flop, a.hbm_byte + b.hbm_byte)
    assert (total.net_byte, total.disk_byte) == (a.net_byte + b.net_byte, a.disk_byte + b.disk_byte)
    assert total == b + a


@given(counts)
def test_an_empty_count_changes_nothing(count):
    assert count + Count() == count
    assert count * 0 == Count()


@given(counts, st.integers(min_value=0, max_value=64))
def test_times_n_is_n_of_them(count, times):
    total = sum((count for _ in range(times)), Count())
    assert (count * times).flop == pytest.approx(total.flop)
    assert (count * times).disk_byte == pytest.approx(total.disk_byte)
    assert times * count == count * times


def test_a_count_cannot_be_changed():
    with pytest.raises(AttributeError):
        Count(1).flop = 2
