"""Numbers as people say them, and read again."""

import pytest

from pennyweight.errors import BadInputError
from pennyweight.units import energy, mass, money, parse_seconds, parse_usd

MONEY = {478.2: "$478.20", 999.6: "$999.60", 1480.0: "$1.48k", 12345: "$12.3k", 54757950: "$54.8M", 999999: "$1.00M"}


@pytest.mark.parametrize(
    ("usd", "said"), [*MONEY.items(), (1.5e9, "$1.50B"), (-2e6, "-$2.00M"), (float("inf"), "$inf")]
)
def test_sums_that_nobody_counts_in_cents_have_three_digits(usd, said):
    assert money(usd) == said


def test_electricity_is_said_as_it_is_sold():
    assert energy(3.6e6) == "1 kWh"
    assert energy(1.7e12) == "472 MWh"
    assert energy(3.6e3) == "1 Wh"


def test_masses_are_grams_kilograms_or_tonnes():
    assert [mass(0.5), mass(20), mass(37900), mass(2166884)] == ["500 g", "20 kg", "37.9 t", "2,170 t"]
    assert mass(float("inf")) == "inf kg"


def test_limits_are_read_as_they_are_written():
    assert parse_seconds("60d") == 60 * 86400
    assert parse_usd("50e6") == 5e7
    with pytest.raises(BadInputError, match="sixty days"):
        parse_seconds("sixty days")
