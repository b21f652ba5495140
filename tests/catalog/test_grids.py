import pytest

from pennyweight.catalog.grids import grid
from pennyweight.catalog.offers import offers
from pennyweight.errors import UnknownNameError


def test_a_country_is_found_by_code_and_by_name():
    assert grid("deu") == grid("Germany")
    assert 0.3 < grid("deu").kg_co2e_kwh < 0.5
    assert grid("fra").kg_co2e_kwh < 0.1 < grid("world").kg_co2e_kwh < grid("coal").kg_co2e_kwh
    assert grid("deu").year >= 2022
    assert grid("deu").source


def test_a_kilowatt_hour_is_worth_what_the_grid_says():
    assert grid("wind").kg_co2e(3.6e6) == grid("wind").kg_co2e_kwh == 0.026


def test_a_clouds_own_figure_comes_before_its_countrys():
    montreal, frankfurt = grid("northamerica-northeast1", "gcp"), grid("eu-central-1", "aws")
    assert montreal.kg_co2e_kwh == 0.002
    assert frankfurt.kg_co2e_kwh == grid("deu").kg_co2e_kwh
    assert "Germany" in frankfurt.place


def test_every_region_with_an_offer_has_a_grid(tmp_path, monkeypatch):
    monkeypatch.setenv("PENNYWEIGHT_HOME", str(tmp_path))
    places = {(each.cloud, each.region) for each in offers()}
    assert len(places) > 50
    assert all(0 < grid(region, cloud).kg_co2e_kwh < 1 for cloud, region in places)


def test_unknown_grids_regions_and_clouds_are_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match="germany"):
        grid("germny")
    with pytest.raises(UnknownNameError, match="us-east-1"):
        grid("us-east-11", "aws")
    with pytest.raises(UnknownNameError, match="azure"):
        grid("eastus", "azur")
