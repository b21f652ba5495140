"""`pennyweight optimize DIR` says what it finds, and everything that goes wrong in two sentences."""

import json
import shutil

import numpy as np
import pytest
from llamas import TEXT, write_llama
from processes import call

LOAD = ("--prompt", "8", "--answer", "4")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("folder")
    write_llama(place / "llama", layers=1, width=64)
    words, dice = np.array(TEXT.split()), np.random.default_rng(0)
    lines = [json.dumps({"text": " ".join(dice.choice(words, 12))}) for _ in range(420)]
    (place / "lines.jsonl").write_text("\n".join(lines))
    (place / "short.txt").write_text(TEXT)
    return place


def test_a_folder_is_searched_told_and_kept_with_a_report(place):
    code, out, err = call(place, "optimize", "llama", "--eval", "lines.jsonl", *LOAD, "-o", "a", "--report", "a.html")
    assert code == 0, err
    assert "What a million generated tokens cost" in out
    assert "On cpu: " in out
    assert "The search cost $" in out
    assert "candidates; " in err
    assert "not tried: nothing among cpu would serve it for less: int3-g64-rtn" in err
    assert "<h2>All that was tried</h2>" in (place / "a.html").read_text()
    assert "optimize llama" in call(place, "ledger")[1]
    shutil.copytree(place / "a.search", place / "b.search")  # what was measured is not measured again
    words = ("optimize", "llama", "--eval", "lines.jsonl", *LOAD, "--on", "cpu", "-o", "b", "--json")
    code, out, err = call(place, *words)
    facts = json.loads(out)
    assert code == 0, err
    assert {each["name"] for each in facts["tried"]} & {"int4-g64-rtn"}
    assert facts["original"]["prices"][0]["basis"] == "measured"
    assert facts["search"]["cpu_s"] > 0
    assert (place / "b").exists() == facts["held"]


def test_a_dry_run_makes_nothing_and_says_what_is_promised(place):
    words = ("optimize", "llama", "--eval", "lines.jsonl", "-o", "dry", "--dry-run")
    code, out, err = call(place, *words)
    assert (code, err) == (0, "")
    assert "What would be tried" in out
    assert not (place / "dry.search").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("llama", "--eval", "short.txt"), "Too little text: of its "),
        (("llama",), "is judged by a text"),
        (("llama", "llama", "--eval", "lines.jsonl"), "searched alone"),
        (("llama", "--eval", "lines.jsonl", "--floor", "accuracy=98%"), "--floor is for recipes"),
        (("recipe.py", "--eval", "lines.jsonl"), "--eval is for the folder of a language model"),
    ],
)
def test_bad_words_are_one_sentence_and_how_to_fix_it(place, words, said):
    code, out, err = call(place, "optimize", *words)
    assert (code, out) == (2, "")
    assert said in err
    assert "To fix:" in err
    assert not (place / "llama-cheap.search").exists()
