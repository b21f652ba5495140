import json

import pytest
from llamas import TEXT, write_llama
from processes import call


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    import numpy as np

    place = tmp_path_factory.mktemp("comparing")
    write_llama(place / "a")
    write_llama(place / "b", noise=0.01)
    write_llama(place / "c", seed=3, noise=3.0)
    (place / "text.txt").write_text(" ".join(np.random.default_rng(0).choice(TEXT.split(), 8000)))
    (place / "short.txt").write_text(TEXT)
    line = {"question": "What?", "choices": ["one", "two"], "answer": 0}
    lines = [line | {"question": f"What is {number}?"} for number in range(100)]
    (place / "tasks.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (place / "bad.jsonl").write_text(json.dumps(line) + "\n{}")
    return place


def test_a_kept_floor_ends_well_and_is_told_with_its_figures(place):
    words = ("--text", "text.txt", "--tasks", "tasks.jsonl")
    code, out, err = call(place, "compare", "a", "b", *words)
    assert (code, err) == (0, "")
    for said in (
        "perplexity",
        "bits per byte",
        "Divergence is",
        "Right answers",
        "Certified: perplexity at most 1% higher",
    ):
        assert said in out
    code, out, _ = call(place, "ledger")
    assert "compare b with a" in out


def test_a_broken_floor_ends_with_three_and_says_why(place):
    code, out, err = call(place, "compare", "a", "c", "--text", "text.txt", "--give-up", "0%", "--apart")
    assert (code, err) == (3, "")
    assert "Not certified: perplexity at most 0% higher: on this text it is " in out
    assert "% higher, and more text would not mend that." in out
    assert "Divergence is at least" in out


def test_json_is_one_object_with_the_verdict(place):
    code, out, _ = call(place, "compare", "a", "b", "--text", "short.txt", "--retrieve", "80", "--json")
    found = json.loads(out)
    assert code == 3
    assert found["held"] is False
    assert found["checks"][0]["needed"] == 15_360
    assert len(found["retrieved"]) == 5
    assert found["cost"]["cpu_s"] > 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("a", "b", "--text", "text.txt", "--tasks", "bad.jsonl"), "Line 2 of bad.jsonl has no question."),
        (("a", "b", "--text", "none.txt"), "There is no file none.txt."),
        (("a", "none", "--text", "text.txt"), "none is no folder"),
        (("a", "b", "--text", "text.txt", "--retrieve", "80,many"), "are no lengths"),
        (("a", "b", "--text", "text.txt", "--give-up", "some"), "some"),
        (("a", "b"), "--text"),
    ],
)
def test_bad_input_is_one_sentence_and_how_to_fix_it(place, words, said):
    code, out, err = call(place, "compare", *words)
    assert (code, out) == (2, "")
    assert said in err
    assert "To fix:" in err
