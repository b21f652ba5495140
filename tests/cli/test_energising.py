"""`pennyweight energy` as a user meets it."""

import json

from processes import call


def test_energy_is_told_with_an_interval_and_carbon(tmp_path):
    code, out, err = call(tmp_path, "energy", "llama-3.1-70b", "--on", "h100", "--gpus", "4", "--json")
    assert code == 0, err
    found = json.loads(out)
    for name in ("joule_token", "power_w", "tokens_s", "kg_co2e_1000"):
        assert 0 < found[name]["low"] < found[name]["value"] < found[name]["high"]
    assert 0.3 < found["joule_token"]["value"] < 2
    assert not found["outside"]


def test_a_greener_grid_and_a_better_building_emit_less(tmp_path):
    words = ("energy", "llama-3.1-8b", "--on", "h100", "--json", "--grid")
    wind, coal = (json.loads(call(tmp_path, *words, each)[1]) for each in ("wind", "coal"))
    assert wind["kg_co2e_1000"]["value"] < 0.1 * coal["kg_co2e_1000"]["value"]
    assert wind["joule_token"] == coal["joule_token"]


def test_the_table_says_what_is_unlike_anything_measured(tmp_path):
    code, out, err = call(tmp_path, "energy", "llama-3.1-8b", "--on", "l4", "--batch", "16")
    assert code == 0, err
    assert "energy per token" in out
    assert "Unlike what was measured" in out


def test_what_does_not_fit_and_what_is_unknown_end_in_one_sentence(tmp_path):
    for words, said in {
        ("llama-3.1-70b", "--on", "h100"): "use 2 or more",
        ("llama-3.1-8b", "--on", "h1000"): "use one of",
        ("llama-3.1-8b", "--on", "h100", "--task", "sing"): "use one of",
        ("llama-3.1-8b", "--on", "h100", "--grid", "atlantis"): "use one of",
    }.items():
        code, out, err = call(tmp_path, "energy", *words)
        assert (code, out) == (2, "")
        assert said in err
        assert "Traceback" not in err
