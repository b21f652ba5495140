"""`pennyweight estimate` and `pennyweight plan train` as a user meets them."""

import json

import pytest
from processes import call

from pennyweight.cli.estimating import cluster
from pennyweight.errors import BadInputError


def test_an_estimate_tells_time_money_energy_carbon_memory_and_layout(tmp_path):
    code, out, err = call(
        tmp_path, "estimate", "llama-3-8b", "--train-tokens", "1e12", "--on", "64xh100", "--report", "run.html"
    )
    assert code == 0, err
    for word in ("time", "cost", "MWh", "CO2e", "MFU", "matmul", "a device has", "h100", "dp", "Assumed"):
        assert word in out
    assert "<svg" in (tmp_path / "run.html").read_text()


def test_an_estimate_as_json_has_every_figure_with_its_interval(tmp_path):
    words = ("--train-tokens", "1e12", "--on", "64xh100", "--tp", 2, "--spot", "--grid", "wind", "--json")
    code, out, err = call(tmp_path, "estimate", "llama-3-8b", *words)
    assert code == 0, err
    told = json.loads(out)
    for name in ("step_s", "mfu", "seconds", "usd", "joule", "kg_co2e"):
        assert told[name]["low"] < told[name]["value"] < told[name]["high"]
    assert told["layout"]["tp"] == 2
    assert told["rented"]["spare"]
    assert told["devices"] == 64


def test_a_plan_tells_the_front_within_its_limits(tmp_path):
    words = ("--tokens", "1e12", "--deadline", "30d", "--budget", "1e6", "--on", "h100", "h200", "--top", 3)
    code, out, err = call(tmp_path, "plan", "train", "llama-3-8b", *words, "--report", "plan.html")
    assert code == 0, err
    assert "h200" in out or "h100" in out
    assert out.count("tp ") + out.count("dp ") > 1
    assert "<svg" in (tmp_path / "plan.html").read_text()


def test_a_plan_as_json_has_the_whole_front(tmp_path):
    words = ("--tokens", "1e12", "--on", "h100,b200", "--no-spot", "--max-devices", 256, "--json")
    code, out, err = call(tmp_path, "plan", "train", "llama-3-8b", *words)
    assert code == 0, err
    told = json.loads(out)
    assert {each["accelerator"] for each in told["front"]} <= {"h100", "b200"}
    assert not any(each["rented"]["spare"] for each in told["front"])
    assert max(each["devices"] for each in told["front"]) <= 256
    assert told["front"][0]["usd"] <= told["front"][-1]["usd"]


def test_a_plan_that_misses_its_limits_says_by_how_little(tmp_path):
    words = ("--tokens", "15e12", "--deadline", "60d", "--budget", "1e6")
    code, _, err = call(tmp_path, "plan", "train", "llama-3.1-405b", *words)
    assert code == 4
    assert "more than given" in err
    assert "To fix: give a longer --deadline" in err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("estimate", "llama-3-8b", "--train-tokens", "1e12", "--on", "64xh1000"), 2, "h1000"),
        (("estimate", "llama-9", "--train-tokens", "1e12", "--on", "64xh100"), 2, "model named 'llama-9'"),
        (("estimate", "llama-3-8b", "--train-tokens", "many", "--on", "64xh100"), 2, "1e8"),
        (("estimate", "llama-3-8b", "--train-tokens", "1e12", "--on", "64xh100", "--tp", 16), 2, "--tp 8 or less"),
        (("estimate", "llama-3-8b", "--train-tokens", "1e12", "--on", "8xh100", "--recompute", "ful"), 2, "full"),
        (("estimate", "llama-3-70b", "--train-tokens", "1e12", "--on", "h100"), 4, "or more: --on"),
        (("plan", "train", "llama-3-8b", "--tokens", "1e12", "--deadline", "soon"), 2, "a duration"),
        (("plan", "train", "llama-3-8b", "--tokens", "1e12", "--cloud", "azur"), 2, "azure"),
        (("plan",), 2, "Missing command"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_the_fix(tmp_path, words, code, said):
    found, out, err = call(tmp_path, *words)
    assert found == code
    assert said in err
    assert "To fix:" in err
    assert not out


def test_a_cluster_is_read_as_it_is_written():
    assert cluster("512xh100") == (512, "h100")
    assert cluster(" 8 x rtx-pro-6000 ") == (8, "rtx-pro-6000")
    assert cluster("xeon") == (1, "xeon")
    with pytest.raises(BadInputError, match="no devices"):
        cluster("8 x")


def test_both_plans_and_estimates_have_help(tmp_path):
    for words in (("estimate", "--help"), ("plan", "train", "--help"), ("plan", "--help")):
        code, out, _ = call(tmp_path, *words)
        assert code == 0
        assert "Usage" in out
    assert "train" in out
