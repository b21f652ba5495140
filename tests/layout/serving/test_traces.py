"""Traces: every public form is read, rates and bursts are told, and what is missing is said with the fix."""

import gzip

import numpy as np
import pytest

from pennyweight.errors import BadInputError, UnknownNameError
from pennyweight.layout.serving.traces import Trace, read_trace

AZURE = "AzureLLMInferenceTrace_{}.csv.gz"
SPLITWISE = "processed_traces__splitwise_{}.csv.gz"


def written(folder, *lines):
    path = folder / "trace.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["code", "conv"])
def test_two_forms_of_one_trace_say_the_same(samples, name):
    one = read_trace(samples / "traces" / AZURE.format(name))
    other = read_trace(samples / "traces" / SPLITWISE.format(name))
    np.testing.assert_allclose(one.arrival_s, other.arrival_s, atol=1e-5)
    np.testing.assert_array_equal(one.prompt_tokens, other.prompt_tokens)
    np.testing.assert_array_equal(one.output_tokens, other.output_tokens)


def test_a_trace_is_summed_up(samples):
    told = read_trace(samples / "traces" / AZURE.format("conv")).summary()
    assert told.requests == 19366
    assert told.rate_s == pytest.approx(5.53, abs=0.01)
    assert 1.0 < told.burstiness < 1.2
    assert told.prompt.at[50] < told.prompt.mean < told.prompt.at[99]
    assert told.output.mean == pytest.approx(211.1, abs=0.1)


def test_lengths_alone_need_a_rate_and_then_arrive_by_chance(samples):
    path = samples / "traces" / "processed_traces__arxiv_summarization_stats_llama2_tokenizer_filtered_v2.csv.gz"
    with pytest.raises(BadInputError, match=r"no column for arrival_s; it has: num_prefill_tokens.*give a rate"):
        read_trace(path)
    told = read_trace(path, rate_s=2.0).summary()
    assert told.rate_s == pytest.approx(2.0)
    assert told.burstiness == pytest.approx(1.0, abs=0.05)


def test_another_rate_keeps_the_bursts(samples):
    trace = read_trace(samples / "traces" / AZURE.format("code"))
    faster = trace.at_rate(40.0)
    assert faster.rate_s == pytest.approx(40.0)
    assert faster.summary().burstiness == pytest.approx(trace.summary().burstiness)


def test_a_resample_keeps_rate_bursts_and_lengths(samples):
    trace = read_trace(samples / "traces" / AZURE.format("code"))
    drawn, told = trace.resampled(30_000, seed=3), trace.summary()
    assert len(drawn) == 30_000
    assert drawn.rate_s == pytest.approx(trace.rate_s)
    assert drawn.summary().burstiness == pytest.approx(told.burstiness, rel=0.35)
    assert drawn.summary().prompt.mean == pytest.approx(told.prompt.mean, rel=0.05)
    assert (np.diff(drawn.arrival_s) >= 0).all()


def test_the_same_seed_draws_the_same_and_another_does_not(samples):
    trace = read_trace(samples / "traces" / AZURE.format("conv"))
    np.testing.assert_array_equal(trace.resampled(500, 1).arrival_s, trace.resampled(500, 1).arrival_s)
    assert (trace.resampled(500, 1).prompt_tokens != trace.resampled(500, 2).prompt_tokens).any()


def test_columns_of_any_name_can_be_said_and_rows_are_put_in_order(tmp_path):
    path = written(tmp_path, "when,in,out", "7,30,3", "5,10,1", "6,20,2")
    said = {"arrival_s": "when", "prompt_tokens": "in", "output_tokens": "out"}
    trace = read_trace(path, said)
    assert list(trace.arrival_s) == [0.0, 1.0, 2.0]
    assert list(trace.prompt_tokens) == [10.0, 20.0, 30.0]
    with pytest.raises(UnknownNameError, match="arrival_s"):
        read_trace(path, {"arrivals": "when"})


def test_dates_with_a_zone_and_gzip_are_read(tmp_path):
    lines = "Timestamp,Request tokens,Response tokens\n2024-05-10T00:00:00.5Z,1,2\n2024-05-10T00:00:02+00:00,3,4\n"
    path = tmp_path / "trace.csv.gz"
    path.write_bytes(gzip.compress(lines.encode()))
    assert list(read_trace(path).arrival_s) == [0.0, 1.5]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["arrived_at,num_prefill_tokens", "0,1", "1,2"], "no column for output_tokens"),
        (["time,prompt_tokens,output_tokens", "0,1,2", "1,-4,2"], "line 3, is missing or below zero"),
        (["time,prompt_tokens,output_tokens", "0,1,2", ",4,2"], "line 3, is missing"),
        (["time,prompt_tokens,output_tokens", "noon,1,2", "one,4,2"], "times that cannot be read"),
        (["time,prompt_tokens,output_tokens", "3,1,2", "3,4,2"], "arrive at once"),
        (["time,prompt_tokens,output_tokens", "3,1,2"], "two requests or more"),
    ],
)
def test_a_trace_that_cannot_be_used_says_why(tmp_path, lines, said):
    with pytest.raises(BadInputError, match=said):
        read_trace(written(tmp_path, *lines))


@pytest.mark.parametrize("rate", [0.0, -1.0, float("inf"), float("nan")])
def test_an_impossible_rate_is_refused(rate):
    trace = Trace(np.array([0.0, 1.0]), np.ones(2), np.ones(2))
    with pytest.raises(BadInputError, match="rate above zero"):
        trace.at_rate(rate)


@pytest.mark.parametrize(("requests", "block"), [(1, 10), (10, 0)])
def test_an_impossible_resample_is_refused(requests, block):
    trace = Trace(np.array([0.0, 1.0]), np.ones(2), np.ones(2))
    with pytest.raises(BadInputError, match="two requests or more"):
        trace.resampled(requests, block=block)
