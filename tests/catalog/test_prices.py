import pytest

from pennyweight.catalog import PriceSheet, load_prices
from pennyweight.errors import BadInputError, UnknownNameError

SHEET = 'core_hour_usd = 0.1\ngb_hour_usd = 0.01\ndisk_gb_month_usd = 0.2\nkwh_usd = 0\ndate = "2026-11-01"\n'


def test_an_unknown_price_sheet_is_refused_with_the_known_ones():
    with pytest.raises(UnknownNameError, match="local"):
        load_prices("locale")


@pytest.mark.parametrize("name", ["local"])
def test_every_price_sheet_says_where_and_when_it_is_from(name):
    sheet = load_prices(name)
    assert sheet.id == name
    assert sheet.core_hour_usd > sheet.gb_hour_usd > 0
    assert sheet.date.startswith("20")
    assert sheet.source


def test_a_sheet_of_ones_own_is_read_from_toml_and_from_csv(tmp_path):
    toml = tmp_path / "mine.toml"
    toml.write_text(f'{SHEET}source = "my invoice"\n')
    assert load_prices(str(toml)) == PriceSheet("mine.toml", 0.1, 0.01, 0.2, 0.0, "2026-11-01", "my invoice")
    table = tmp_path / "mine.csv"
    table.write_text("id,core_hour_usd,gb_hour_usd,disk_gb_month_usd,kwh_usd,date,source\nm,1,2,3,4,2026-11-01,me\n")
    assert load_prices(str(table)) == PriceSheet("m", 1, 2, 3, 4, "2026-11-01", "me")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (SHEET, "says nothing about source"),
        (SHEET.replace("0.1", '"a lot"') + 'source = "x"\n', "not a number"),
        (SHEET.replace("0.1", "-0.1") + 'source = "x"\n', "below zero"),
        ("core_hour_usd = ", "is not TOML"),
    ],
)
def test_a_sheet_that_makes_no_sense_is_refused(tmp_path, body, said):
    file = tmp_path / "mine.toml"
    file.write_text(body)
    with pytest.raises(BadInputError, match=said):
        load_prices(str(file))
