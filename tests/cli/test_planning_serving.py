"""`pennyweight plan serve` as a user meets it."""

import json

import pytest
from processes import call

COME = ("--rate", 20, "--prompt", 800, "--output", 100, "--engine", "vllm")
SLO = ("--slo", "ttft=1s,tpot=40ms")


def trace(folder, head="TIMESTAMP,ContextTokens,GeneratedTokens"):
    rows = [f"2023-11-16 18:{at // 60:02d}:{at % 60:02d}.5,{400 + at % 7},{50 + at % 5}" for at in range(600)]
    (folder / "trace.csv").write_text("\n".join([head, *rows]))


def test_a_plan_tells_dollars_seconds_joules_and_machines(tmp_path):
    code, out, err = call(tmp_path, "plan", "serve", "llama-3-8b", *COME, *SLO, "--on", "h100", "l40s", "--top", 3)
    assert code == 0, err
    for word in ("$/M out", "90% interval", "J/token", "vllm", "at once", "40 ms per token at p90", "20 requests"):
        assert word in out
    assert "h100" in out or "l40s" in out


def test_a_plan_of_a_trace_as_json_has_every_figure(tmp_path):
    trace(tmp_path)
    words = ("--trace", "trace.csv", "--slo", "ttft_p99=2s,tpot=40ms", "--on", "h100", "--no-spot", "--json")
    code, out, err = call(tmp_path, "plan", "serve", "llama-3-8b", *words, "--engine", "vllm", "sglang")
    assert code == 0, err
    told = json.loads(out)
    assert told["requests"]["rate_s"] == pytest.approx(1.0)
    assert told["slo"][0] == {"what": "ttft", "most_s": 2.0, "percent": 99.0}
    for way in told["front"]:
        assert way["accelerator"] == "h100"
        assert way["engine"] in {"vllm", "sglang"}
        assert not way["machines"]["spare"]
        for name in ("ttft_s", "tpot_s", "joule_token"):
            assert way[name]["low"] < way[name]["value"] < way[name]["high"]
        assert way["usd_token"] < way["usd_output"]
    assert told["front"][0]["usd_hour"] <= told["front"][-1]["usd_hour"]


def test_a_plan_is_written_as_a_launch_file_for_vllm(tmp_path):
    words = ("--rate", 20, "--prompt", 800, "--output", 100, *SLO, "--on", "h100", "--spot", "--emit", "skypilot")
    code, out, err = call(tmp_path, "plan", "serve", "llama-3-8b", *words)
    assert code == 0, err
    (file,) = tmp_path.glob("serve-*")
    assert file.name in out
    text = file.read_text()
    assert "vllm serve" in text
    assert "--max-num-seqs" in text


def test_what_nothing_keeps_ends_with_the_nearest_and_a_fix(tmp_path):
    code, _, err = call(tmp_path, "plan", "serve", "llama-3-8b", *COME, "--slo", "tpot=0.1ms", "--on", "h100", "--json")
    assert code == 4
    assert "however many replicas" in err
    assert "To fix: allow tpot=" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--slo", "ttff=1s", "--rate", 1, "--prompt", 9, "--output", 9), "ttft"),
        (("--slo", "ttft=1s"), "--trace FILE.csv"),
        (("--slo", "ttft=1s", "--rate", 0, "--prompt", 9, "--output", 9), "--rate above zero"),
        (("--slo", "ttft=1s", "--trace", "none.csv"), "none.csv"),
        (("--slo", "ttft=1s", "--trace", "trace.csv"), "no column for output_tokens"),
        ((*SLO, *COME, "--on", "h1000"), "h1000"),
        ((*SLO, *COME, "--precision", "fp7"), "fp7"),
        ((*SLO, *COME, "--engine", "vlm"), "vlm"),
        ((*SLO, *COME, "--emit", "vlllm"), "vllm"),
    ],
)
def test_what_cannot_be_planned_is_one_sentence_and_the_fix(tmp_path, words, said):
    trace(tmp_path, head="TIMESTAMP,ContextTokens,Made")
    code, _, err = call(tmp_path, "plan", "serve", "llama-3-8b", *words)
    assert code == 2
    assert said in err
    assert "To fix:" in err


def test_both_kinds_of_pools_are_told_and_every_line_of_the_tables_fits_80_columns(tmp_path):
    words = (*COME[:2], "--prompt", 4000, "--output", 200, *COME[-2:], *SLO, "--on", "h100", "--report", "r.html")
    code, out, err = call(tmp_path, "plan", "serve", "llama-3-8b", *words, env={"COLUMNS": "80"})
    assert code == 0, err
    tables, _, rest = out.partition("The cheapest, with")
    first, *lines = tables.splitlines()
    assert first.startswith("Serving")
    assert max(map(len, lines)) <= 80
    assert "disaggregated:" in " ".join(lines)
    assert {line.split()[-1] for line in lines if "$" in line and " ms " in line} == {"1", "2"}
    assert "DistServe" in rest
    page = (tmp_path / "r.html").read_text()
    assert 'pair"' in page
    assert "disaggregated: one pool reads" in page


def test_pools_are_chosen_and_told_as_json(tmp_path):
    words = ("--rate", 20, "--prompt", 4000, "--output", 200, "--engine", "vllm", *SLO, "--on", "h100", "--json")
    found = {}
    for pools in ("aggregated", "disaggregated"):
        code, out, err = call(tmp_path, "plan", "serve", "llama-3-8b", *words, "--pools", pools)
        assert code == 0, err
        found[pools] = json.loads(out)["front"]
        assert {way["pools"] for way in found[pools]} == {pools}
    assert all(way["reads"] is None for way in found["aggregated"])
    for way in found["disaggregated"]:
        reads = way["reads"]
        assert reads["replicas"] >= 1
        assert 0 < reads["busy"] <= 1
        assert reads["move_s"] > 0
        assert (reads["machines"] is None) == (reads["accelerator"] == way["accelerator"])
    code, _, err = call(tmp_path, "plan", "serve", "llama-3-8b", *words, "--pools", "apart")
    assert code == 2
    assert "aggregated" in err


def test_two_pools_are_written_for_vllm_and_refused_for_others(tmp_path):
    words = ("--rate", 20, "--prompt", 4000, "--output", 200, *SLO, "--on", "h100", "--pools", "disaggregated")
    code, _, err = call(tmp_path, "plan", "serve", "llama-3-8b", *words, "--emit", "vllm")
    assert code == 0, err
    (file,) = tmp_path.glob("serve-*")
    assert "kv_producer" in file.read_text()
    code, _, err = call(tmp_path, "plan", "serve", "llama-3-8b", *words, "--emit", "slurm")
    assert code == 2
    assert "--emit vllm" in err


def test_a_launch_file_of_one_pool_is_planned_with_one(tmp_path):
    words = ("--rate", 20, "--prompt", 4000, "--output", 200, *SLO, "--on", "h100", "--no-spot", "--emit", "slurm")
    code, out, err = call(tmp_path, "plan", "serve", "llama-3-8b", *words)
    assert code == 0, err
    assert "slurm files start one pool" in out
    assert "disaggregated:" not in out
