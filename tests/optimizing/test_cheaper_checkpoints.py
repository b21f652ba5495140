"""The search over a language model's folder: whole ways on tiny checkpoints with random weights."""

import json
import signal
import subprocess
import sys
from collections import UserList
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from llamas import TEXT, settings_of, write_llama

from pennyweight.core import Basis, Limits
from pennyweight.engine import Shop
from pennyweight.errors import BadInputError, UnknownNameError
from pennyweight.optimizing.checkpoints import Ask, Load, foresee_checkpoint, optimize_checkpoint
from pennyweight.optimizing.checkpoints.pricing import Price, cheapest
from pennyweight.optimizing.checkpoints.weighing import Scales
from pennyweight.report.checkpoint_page import checkpoint_page
from pennyweight.runtimes.hf import open_model
from pennyweight.store.checkpoints.writing import digest

SHORT = Load(8, 4, 1)
KILLED = """
import os, signal, sys
from pathlib import Path
from pennyweight.optimizing.checkpoints import Ask, Load, optimize_checkpoint

def deadly(event, **facts):
    if event == "weighing":
        os.kill(os.getpid(), signal.SIGKILL)

folder, text, out = map(Path, sys.argv[1:])
optimize_checkpoint(Ask(folder, (text,), out, load=Load(8, 4, 1)), deadly)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("cheaper")
    write_llama(place / "llama", layers=1, width=64)
    words, dice = np.array(TEXT.split()), np.random.default_rng(0)
    lines = [json.dumps({"text": " ".join(dice.choice(words, 12))}) for _ in range(420)]
    (place / "lines.jsonl").write_text("\n".join(lines))
    (place / "text.txt").write_text(" ".join(dice.choice(words, 30_000)))
    (place / "short.txt").write_text(TEXT)
    return place


def by_bytes(scales, contenders):
    """Prices that no neighbour on this machine can move."""
    dear = {each.key: (2 if each.runtime == "torch" else 1) * each.byte for each in contenders}
    more = (1e-6, 1e-6, 1.0, scales.load.at_once)
    return {
        each.key: Price("cpu", each.runtime, Basis.MEASURED, dear[each.key], dear[each.key], dear[each.key], *more)
        for each in contenders
    }


@pytest.fixture
def steady(monkeypatch):
    monkeypatch.setattr(Scales, "weigh", by_bytes)


@pytest.fixture
def ask(place, tmp_path, monkeypatch):
    monkeypatch.setenv("PENNYWEIGHT_HOME", str(tmp_path / "home"))
    return Ask(place / "llama", (place / "lines.jsonl",), tmp_path / "out", load=SHORT)


class Heard(UserList):
    def __call__(self, event, **facts):
        self.append((event, facts.get("text", "")))

    def of(self, event):
        return [text for each, text in self if each == event]


def test_the_cheapest_that_holds_is_certified_written_and_on_the_ledger(ask, steady):
    result = optimize_checkpoint(ask)
    assert result.winner == "int4-g64-rtn"
    assert result.answer() == result.kept
    assert result.kept[1].basis is Basis.MEASURED
    assert result.kept[1].runtime == "openvino"
    assert 0 < result.saving < 1
    assert 0 < result.search.usd < 0.01
    assert result.break_even_tokens > 0
    assert settings_of(ask.out)["quantization_config"]["config_groups"]["group_0"]["weights"]["num_bits"] == 4
    open_model(ask.out)
    said = json.loads((ask.out / "certificate.json").read_text())
    assert said["p_value"] <= said["level"] <= 0.05
    assert said["tokens"] == result.text.certify
    assert said["source"]["sha256"] == result.fingerprint
    assert said["text"]["sha256"] == result.text.sha256
    entries = [entry for entry in Shop.at().ledger.entries() if entry.job == "optimize llama"]
    assert entries[-1].note["winner"] == "int4-g64-rtn"
    assert {path.name for path in ask.place.iterdir() if path.is_dir()} == set()


def test_no_token_is_in_two_parts_whether_documents_are_many_or_one(place):
    from pennyweight.optimizing.checkpoints.parts import parts_of
    from pennyweight.runtimes.hf import open_tokenizer

    tokenizer = open_tokenizer(place / "llama")
    many = parts_of((place / "lines.jsonl",), tokenizer, 1_000_000)
    texts = [json.loads(line)["text"] for line in (place / "lines.jsonl").read_text().splitlines()]
    counts = len(many.calibrate), len(many.opening.documents), len(many.rest.documents), len(many.certify.documents)
    assert sum(counts) == len(texts)
    assert counts == (70, 35, 105, 210)
    one = parts_of((place / "text.txt",), tokenizer, 60_000)
    whole = (place / "text.txt").read_text()
    read = [tokenizer.decode(part.documents[0]) for part in (one.opening, one.rest, one.certify)]
    assert whole.startswith("".join([*one.calibrate, *read]))
    assert one.tokens == 60_000


def test_too_little_text_is_refused_before_anything_is_done_and_says_how_much_is_needed(ask, place):
    with pytest.raises(BadInputError, match="Too little text") as error:
        optimize_checkpoint(replace(ask, texts=(place / "short.txt",)))
    assert "50,700 tokens or more, about " in error.value.fix
    assert not ask.place.exists()


def test_a_search_that_was_killed_goes_on_with_what_it_had(ask, steady):
    words = map(str, (ask.folder, ask.texts[0], ask.out))
    assert subprocess.run([sys.executable, "-c", KILLED, *words], check=False).returncode == -signal.SIGKILL
    assert (ask.place / "int4-g64-rtn/config.json").is_file()
    heard = Heard()
    result = optimize_checkpoint(ask, heard)
    assert result.winner == "int4-g64-rtn"
    assert not heard.of("writing")
    assert not [text for text in heard.of("reading") if "opening" in text or "rest" in text]
    assert [each for each in heard.of("reading") if "certify" in each]
    assert result.search.cpu_s > 0


def test_an_interruption_says_that_the_same_again_goes_on(ask):
    def impatient(event, **facts):
        heard(event, **facts)
        if event == "opening":
            raise KeyboardInterrupt

    heard = Heard()
    with pytest.raises(KeyboardInterrupt):
        optimize_checkpoint(ask, impatient)
    assert "goes on from there" in heard.of("stop")[0]


def test_if_none_holds_the_original_stands_and_the_next_floor_costs_no_second_reading(ask, steady):
    strict = replace(ask, give_up=0.0)
    result = optimize_checkpoint(strict)
    assert not result.held
    assert result.winner == "original"
    assert result.answer()[0] == "original"
    assert not ask.out.exists()
    assert result.least_give_up[1] > 0
    assert {each.method for each in (tried.planned.candidate for tried in result.tried)} >= {"rtn", "gptq"}
    assert result.tests
    assert not any(test.passed for test in result.tests)
    facts = {each["name"]: each["why"] for each in result.facts()["tried"]}
    assert all(facts.values())
    assert "not certain on fresh text" in facts[result.tests[0].name]
    heard = Heard()
    again = optimize_checkpoint(ask, heard)
    assert again.held
    assert not [text for text in heard.of("reading") if text.startswith("original")]


def test_a_look_at_the_text_is_remembered_and_the_next_has_less_of_the_level(ask, steady):
    first = optimize_checkpoint(ask)
    assert optimize_checkpoint(replace(ask, out=ask.out.with_name("again"))).tests == first.tests
    other = optimize_checkpoint(replace(ask, out=ask.out.with_name("other"), give_up=0.02))
    assert other.tests[0].level <= first.tests[0].level


def test_two_devices_have_each_their_answer_and_predicted_is_not_taken_for_measured(ask):
    result = optimize_checkpoint(replace(ask, on=("L4", "cpu")))
    assert result.devices == ("l4", "cpu")
    ways = {device: result.answer(device) for device in result.devices}
    assert ways["l4"][1].basis is Basis.PREDICTED
    assert ways["l4"][1].runtime == "vllm"
    assert ways["cpu"][1].basis is Basis.MEASURED
    assert result.answer() in ways.values()
    facts = json.loads(json.dumps(result.facts()))
    assert {price["device"] for price in facts["original"]["prices"]} == {"l4", "cpu"}
    page = checkpoint_page(facts)
    assert "Perplexity against dollars on l4" in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_a_predicted_price_beats_a_measured_one_only_with_its_whole_interval():
    measured = Price("cpu", "torch", Basis.MEASURED, 10.0, 9.0, 11.0, 1.0, 1.0, 1.0, 1)
    near = Price("l4", "vllm", Basis.PREDICTED, 8.0, 6.0, 9.5, 1.0, None, 1.0, 8)
    far = replace(near, high=8.5)
    assert cheapest([near, measured]) is measured
    assert cheapest([measured, near]) is measured
    assert cheapest([measured, far]) is far
    assert cheapest([far, measured]) is far


def test_what_promises_nothing_is_not_made_and_the_limits_end_the_search(ask, steady):
    pairs, _ = foresee_checkpoint(ask)
    shares = {each.name: promise.share for each, promise in pairs}
    assert shares["int4-g64-rtn"] < shares["mixed4.5-g64-gptq"] < shares["int8-g64-rtn"] < shares["int3-g64-rtn"] == 1
    result = optimize_checkpoint(replace(ask, give_up=0.0, limits=Limits(trials=1)))
    whys = {each.name: each.why for each in result.skipped}
    assert whys["int3-g64-gptq"] == "nothing among cpu would serve it for less"
    assert whys["int8-g64-rtn"] == "1 were tried, as many as was allowed"
    assert len(result.tried) == 1


def test_the_work_folder_of_another_search_is_not_touched(ask, steady, place, tmp_path):
    ask.place.mkdir()
    (ask.place / "mine.txt").write_text("keep")
    with pytest.raises(BadInputError, match="holds something else"):
        optimize_checkpoint(ask)
    (ask.place / "mine.txt").unlink()
    optimize_checkpoint(ask)
    moved = replace(ask, out=ask.out.with_name("two"))
    moved.place.mkdir()
    for path in ask.place.iterdir():
        (moved.place / path.name).write_bytes(path.read_bytes())
    (tmp_path / "text.txt").write_bytes((place / "lines.jsonl").read_bytes() + b'\n{"text": "one more line"}')
    (tmp_path / "lines.jsonl").write_bytes((tmp_path / "text.txt").read_bytes())
    before = digest(moved.place / "search.json")
    with pytest.raises(BadInputError, match="another checkpoint or another text"):
        optimize_checkpoint(replace(moved, texts=(tmp_path / "lines.jsonl",)))
    assert digest(moved.place / "search.json") == before


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"on": ("h1000",)}, UnknownNameError, "h1000"),
        ({"texts": ()}, BadInputError, "no text"),
        ({"give_up": -1.0}, BadInputError, "cannot give up"),
        ({"out": Path()}, BadInputError, "there already|around it"),
    ],
)
def test_contradictions_are_said_before_anything_is_opened(ask, change, error, said):
    with pytest.raises(error, match=said):
        replace(ask, **change)
