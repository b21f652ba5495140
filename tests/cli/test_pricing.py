"""`pennyweight prices` as a user meets it: real processes and files."""

import json

from processes import call

HEAD = "cloud,region,instance,accelerator,devices,usd_hour,date\n"
SKYPILOT = "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,Price,Region,GpuInfo,SpotPrice\n"


def asked(place, *words):
    code, out, err = call(place, "prices", *words, "--json")
    assert code == 0, err
    return json.loads(out)


def test_without_an_accelerator_the_cheapest_of_each_is_shown(tmp_path):
    code, out, _ = call(tmp_path, "prices")
    first = [line.split()[0] for line in out.splitlines()[2:-1]]
    assert code == 0
    assert len(first) == len(set(first)) > 20
    assert {"h100", "a100-40gb", "mi300x", "tpu-v5p"} <= set(first)
    assert "offers; --accelerator" in out


def test_who_sells_it_for_how_much_as_of_when(tmp_path):
    code, out, _ = call(tmp_path, "prices", "--accelerator", "h100", "--cloud", "aws")
    assert code == 0
    for word in ("$6.88", "p5.48xlarge", "us-east-1", "2026-07-20"):
        assert word in out


def test_spare_machines_say_how_often_they_are_taken_back(tmp_path):
    code, out, _ = call(tmp_path, "prices", "--spot", "--accelerator", "a100-40gb")
    assert code == 0
    assert "10-15% a month" in out
    rows = asked(tmp_path, "--spot", "--accelerator", "h100")["offers"]
    prices = [row["spot_device_hour_usd"] for row in rows]
    assert prices == sorted(prices)
    assert all(row["spot_usd_hour"] < row["usd_hour"] for row in rows)


def test_json_holds_every_offer_with_its_source(tmp_path):
    rows = asked(tmp_path, "--accelerator", "h100", "--cloud", "azure", "--region", "eastus")["offers"]
    assert len(rows) > 2
    assert {row["region"] for row in rows} == {"eastus"}
    assert all("github" in row["source"] for row in rows)


def test_an_accelerator_nobody_sells_is_said(tmp_path):
    code, out, _ = call(tmp_path, "prices", "--accelerator", "gb300")
    assert code == 0
    assert "Nobody on the price list rents gb300" in out


def test_an_imported_list_is_kept_and_used_from_then_on(tmp_path):
    (tmp_path / "quote.csv").write_text(HEAD + "acme,moon,box,h100,8,8.0,2026-11-01\n")
    code, out, err = call(tmp_path, "prices", "--update", "quote.csv")
    assert code == 0, err
    assert "1 offer read from quote.csv." in out
    best = asked(tmp_path, "--accelerator", "h100")["offers"][0]
    assert (best["cloud"], best["device_hour_usd"], best["source"]) == ("acme", 1.0, "quote.csv, 2026-11-01")
    (tmp_path / "quote.csv").write_text(HEAD + "acme,moon,box,h100,8,9.0,2025-01-01\n")
    assert asked(tmp_path, "--update", "quote.csv")["news"] == 0
    assert asked(tmp_path, "--cloud", "acme")["offers"][0]["usd_hour"] == 8.0


def test_a_skypilot_catalog_is_imported_and_what_is_left_out_is_said(tmp_path):
    rows = "gpu_1x_gh200,GH200,1,64,432,1.49,us-east-1,,\ngpu_1x_k80,K80,1,4,61,0.5,us-east-1,,\n"
    (tmp_path / "vms.csv").write_text(SKYPILOT + rows)
    code, out, err = call(tmp_path, "prices", "--update", "vms.csv", "--cloud", "lambda")
    assert code == 0, err
    assert "Left out: 1 of K80, not in the catalog." in out
    assert asked(tmp_path, "--accelerator", "gh200")["offers"][0]["cloud"] == "lambda"


def test_a_bad_list_is_one_sentence_with_its_fix_and_keeps_nothing(tmp_path):
    (tmp_path / "cents.csv").write_text(HEAD + "acme,moon,box,h100,8,8000,2026-11-01\n")
    code, out, err = call(tmp_path, "prices", "--update", "cents.csv")
    assert (code, out) == (2, "")
    assert "Line 2 of cents.csv asks 1000 dollars per hour" in err
    assert "To fix: give usd_hour in dollars (not cents)" in err
    assert not (tmp_path / "home" / "offers.csv").exists()


def test_unknown_names_are_refused_with_the_nearest(tmp_path):
    for words, near in ((("--accelerator", "h1000"), "h100"), (("--cloud", "awz"), "aws")):
        code, _, err = call(tmp_path, "prices", *words)
        assert code == 2
        assert near in err.split("To fix: ")[1]
