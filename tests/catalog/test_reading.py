import pytest

from pennyweight.catalog import load_device, load_prices
from pennyweight.catalog.reading import read_table
from pennyweight.errors import BadInputError


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(BadInputError, match="cannot be read"):
        load_prices(str(tmp_path / "none.toml"))
    with pytest.raises(BadInputError, match="cannot be read"):
        load_device(str(tmp_path / "none.toml"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", "no source column"),
        ("a,source\n1,\n", "Line 2"),
        ("a,source\n1,x\n2\n", "Line 3"),
        ("a,source\n1,x,y\n", "Line 2"),
    ],
)
def test_a_fact_without_a_source_is_refused(text, said):
    with pytest.raises(BadInputError, match=said):
        read_table(text, "facts.csv")
