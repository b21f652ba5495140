import math
from datetime import UTC, datetime

import numpy as np
import pytest

from pennyweight.catalog.accelerators import accelerator
from pennyweight.catalog.offers import merge, mine, offers
from pennyweight.catalog.sheets import update
from pennyweight.catalog.spot import interruptions_hour, spot
from pennyweight.errors import BadInputError, UnknownNameError

HEAD = "cloud,region,instance,accelerator,devices,usd_hour,spot_usd_hour,date,source\n"


@pytest.fixture(autouse=True)  # ruff: ignore[pytest-fixture-autouse] - what this machine imported is not the catalog
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("PENNYWEIGHT_HOME", str(tmp_path / "home"))


def sheet(folder, *rows, head=HEAD, name="mine.csv"):
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(head + "".join(f"{row}\n" for row in rows))
    return file


def keep(found):
    mine().parent.mkdir(parents=True, exist_ok=True)
    mine().write_text(found.text)


def test_every_shipped_offer_is_sound():
    every = offers()
    assert len(every) > 700
    for each in every:
        assert accelerator(each.accelerator).name == each.accelerator
        assert 0.1 < each.device_hour_usd() < 60, each
        assert each.devices <= 16
        assert each.spot_usd_hour is None or 0 < each.spot_usd_hour < each.usd_hour
        assert not each.date or each.date.startswith("2026-")
        assert "github" in each.source


def test_offers_come_cheapest_first_and_only_those_asked_for():
    found = list(offers("H100", cloud="azure"))
    prices = [each.device_hour_usd() for each in found]
    assert len(found) > 50
    assert prices == sorted(prices)
    assert {(each.accelerator, each.cloud) for each in found} == {("h100", "azure")}
    assert {each.region for each in offers(cloud="azure", region="westeurope")} == {"westeurope"}


def test_shares_of_a_device_are_not_sold_as_whole_ones():
    assert not [each for each in offers("a10") if "NV6ads" in each.instance]


def test_the_same_name_means_the_board_that_is_in_the_machine():
    held = {each.instance: each.accelerator for each in offers()}
    assert held["p4d.24xlarge"] == "a100-40gb"
    assert held["p4de.24xlarge"] == "a100-80gb"
    assert held["Standard_NC24ads_A100_v4"] == "a100-80gb-pcie"
    assert held["Standard_NC40ads_H100_v5"] == "h100-nvl"


def test_spare_machines_have_a_price_and_a_risk():
    p5 = next(each for each in offers("h100", cloud="aws", spare=True))
    known = spot("aws", "us-east-1", "p5.48xlarge")
    assert p5.instance == "p5.48xlarge"
    assert p5.spot_usd_hour == pytest.approx(p5.usd_hour * (1 - known.saving))
    assert p5.interruptions_hour == known.interruptions_hour > 0
    assert p5.device_hour_usd(spare=True) < p5.device_hour_usd()
    assert math.isinf(next(each for each in offers("b300")).device_hour_usd(spare=True))


def test_the_rate_of_interruptions_is_the_one_that_makes_the_months_share():
    assert 1 - math.exp(-730.5 * interruptions_hour("5-10%")) == pytest.approx(0.075)
    assert interruptions_hour(">20%") > interruptions_hour("15-20%") > interruptions_hour("<5%")
    assert interruptions_hour("<5%", kept_h=24) > 30 * interruptions_hour("<5%")
    with pytest.raises(UnknownNameError, match="<5%"):
        interruptions_hour("6%")


def test_the_network_is_that_of_the_machine_per_device():
    p4d, p5 = (next(each for each in offers() if each.instance == name) for name in ("p4d.24xlarge", "p5.48xlarge"))
    assert p4d.net_byte_s == 400e9 / 8 / 8
    assert p5.net_byte_s == accelerator("h100").net_byte_s
    assert next(iter(offers("v100", cloud="lambda"))).net_byte_s is None


def test_columns_are_the_offers_with_nan_for_what_is_unknown():
    found = offers("h100")
    columns = found.columns()
    assert columns.usd_hour.shape == (len(found),)
    assert list(columns.usd_hour / columns.devices) == [each.device_hour_usd() for each in found]
    assert np.isnan(columns.spot_usd_hour).sum() == sum(each.spot_usd_hour is None for each in found) > 0


def test_unknown_clouds_and_regions_are_refused_and_what_nobody_sells_is_nothing():
    with pytest.raises(UnknownNameError, match="aws"):
        offers(cloud="awz")
    with pytest.raises(UnknownNameError, match="westeurope"):
        offers(cloud="azure", region="westeurop")
    assert len(offers("gb300")) == 0


def test_a_newer_price_wins_and_says_where_it_is_from(tmp_path):
    found = update(sheet(tmp_path, "nebius,eu-north1,gpu-h100-sxm_8gpu-128vcpu-1600gb,h100,8,16,,2026-11-01,my quote"))
    assert (len(found.offers), found.news) == (1, 1)
    keep(found)
    best = offers("h100").rows[0]
    assert best.device_hour_usd() == 2.0
    assert best.spot_usd_hour is None
    assert best.source == "mine.csv, 2026-11-01: my quote"
    assert len(offers()) > 700


def test_an_older_price_changes_nothing(tmp_path):
    before = offers().rows
    found = update(sheet(tmp_path, "aws,us-east-1,p5.48xlarge,h100,8,8,,2024-01-01,old"))
    assert found.news == 0
    keep(found)
    assert offers().rows == before


def test_updates_add_up_and_survive_being_written(tmp_path):
    keep(update(sheet(tmp_path, "acme,moon,one,h100,1,3,1.5,2026-11-01,a")))
    keep(update(sheet(tmp_path, "acme,moon,two,l4,2,1,,2026-11-02,b", name="more.csv")))
    assert {each.instance: each.spot_usd_hour for each in offers(cloud="acme")} == {"one": 1.5, "two": None}
    again = merge((), offers(cloud="acme").rows)
    assert again["acme", "moon", "one"].devices == 1


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("acme,moon,one,h100,8,-3,,2026-11-01,me", "Line 2 of mine.csv has usd_hour = '-3'"),
        ("acme,moon,one,h100,8,$3,,2026-11-01,me", "has usd_hour = '[$]3'"),
        ("acme,moon,one,h100,8,,,2026-11-01,me", "has no usd_hour"),
        ("acme,moon,one,h100,8,17280,,2026-11-01,me", "per hour [(]not per month[)]"),
        ("acme,moon,one,h100,8,0.0008,,2026-11-01,me", "0.0001 dollars per hour and accelerator"),
        ("acme,moon,one,h100,0.5,3,,2026-11-01,me", "sells '0.5' devices"),
        ("acme,moon,one,h1000,8,30,,2026-11-01,me", "no accelerator named 'h1000'"),
        ("acme,moon,one,h100,8,30,,1 November,me", "has the date '1 November'"),
        (",moon,one,h100,8,30,,2026-11-01,me", "has no cloud"),
        ("acme,moon,one,h100,8,30,,2026-11-01", "not as many fields as the header"),
    ],
)
def test_a_row_that_cannot_be_right_is_refused_with_its_line(tmp_path, row, said):
    with pytest.raises(BadInputError, match=said):
        update(sheet(tmp_path, row))


def test_a_list_with_another_unit_or_without_a_column_says_the_columns(tmp_path):
    file = sheet(tmp_path, "acme,h100,3", head="cloud,accelerator,usd_month\n")
    with pytest.raises(BadInputError, match=r"no column region.*cloud,region,instance,accelerator"):
        update(file)
    with pytest.raises(BadInputError, match="has 2e\\+12 GiB"):
        update(sheet(tmp_path, "a,b,c,h100,1,2e12,3,2026-11-01", head=HEAD_GIB))
    with pytest.raises(BadInputError, match="sells no accelerator"):
        update(sheet(tmp_path))


HEAD_GIB = "cloud,region,instance,accelerator,devices,memory_gib,usd_hour,date\n"

SKYPILOT = (
    "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,AvailabilityZone\n"
)
GPU = "\"{'Gpus': [{'Name': 'X', 'Manufacturer': 'NVIDIA', 'Count': 8.0}], 'TotalGpuMemoryInMiB': 1}\""


def test_a_skypilot_catalog_becomes_offers_by_region_with_the_clouds_folder_as_its_name(tmp_path):
    file = sheet(
        tmp_path,
        "m5.large,,,2.0,8.0,,0.1,0.04,us-west-2,usw2-az1",
        f"p4d.24xlarge,A100,8.0,96.0,1152.0,{GPU},21.5,9.5,us-west-2,usw2-az1",
        f"p4d.24xlarge,A100,8.0,96.0,1152.0,{GPU},21.5,7.5,us-west-2,usw2-az2",
        f"p5.48xlarge,H100,8.0,192.0,2048.0,{GPU},50.0,,us-west-2,usw2-az1",
        f"p2.xlarge,K80,1.0,4.0,61.0,{GPU},0.9,0.3,us-west-2,usw2-az1",
        head=SKYPILOT,
        name="aws/vms.csv",
    )
    found = update(file)
    a100, h100 = found.offers
    assert (a100.cloud, a100.accelerator, a100.devices) == ("aws", "a100-40gb", 8)
    assert (a100.usd_hour, a100.spot_usd_hour) == (21.5, 7.5)
    assert h100.spot_usd_hour == pytest.approx(50 * (1 - spot("aws", "us-west-2", "p5.48xlarge").saving))
    assert a100.date == f"{datetime.now(UTC):%Y-%m-%d}"
    assert a100.source.startswith("vms.csv, 20")
    assert found.left_out == ("1 of K80, not in the catalog",)


def test_googles_boards_and_machines_are_put_together_and_slices_are_counted_in_chips(tmp_path):
    file = sheet(
        tmp_path,
        "a3-highgpu-8g,,,208.0,1872.0,,10.0,3.0,us-east5,us-east5-a",
        ",H100,8.0,,,,70.0,20.0,us-east5,us-east5-a",
        ",H100,1.0,,,,9.0,2.0,us-east5,us-east5-a",
        ",tpu-v5p-16,1,,,tpu-v5p-16,33.6,700.0,us-east5,us-east5-a",
        ",tpu-v6e-4,1,,,tpu-v6e-4,700.0,700.0,us-east5,us-east5-a",
        head=SKYPILOT,
    )
    tpu, h100 = update(file, "gcp").offers
    assert (h100.instance, h100.devices, h100.usd_hour, h100.spot_usd_hour) == ("a3-highgpu-8g", 8, 80.0, 23.0)
    assert (tpu.accelerator, tpu.devices, tpu.usd_hour, tpu.spot_usd_hour) == ("tpu-v5p", 8, 33.6, None)


def test_a_skypilot_price_that_cannot_be_right_is_refused_with_its_line(tmp_path):
    rows = (f"p5.48xlarge,H100,8.0,192.0,2048.0,{GPU},-50.0,,us-west-2,usw2-az1",)
    with pytest.raises(BadInputError, match=r"Line 3 of vms.csv has usd_hour = '-50.0'"):
        update(sheet(tmp_path, "m5.large,,,2.0,8.0,,0.1,0.04,us-west-2,usw2-az1", *rows, head=SKYPILOT, name="vms.csv"))


def test_a_file_that_is_no_table_is_refused(tmp_path):
    with pytest.raises(BadInputError, match="field larger than field limit"):
        update(sheet(tmp_path, "x" * 200_000))
    with pytest.raises(BadInputError, match="cannot be read"):
        update(tmp_path / "nothing.csv")


def test_a_skypilot_price_that_is_no_number_is_refused(tmp_path):
    with pytest.raises(BadInputError, match="'dear' is not a price"):
        update(sheet(tmp_path, f"p5,H100,8.0,1,1,{GPU},9,dear,x,a", f"p5,H100,8.0,1,1,{GPU},9,1,x,b", head=SKYPILOT))
