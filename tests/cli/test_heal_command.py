"""`pennyweight heal` says what it will take, what came of it, and everything that goes wrong in two sentences."""

import json
import math

import pytest
from patients import cut, language, taught
from typer.testing import CliRunner

from pennyweight.cli.app import app
from pennyweight.cli.healed import told
from pennyweight.errors import BadInputError
from pennyweight.training.healing import Now


@pytest.fixture(scope="module")
def ward(tmp_path_factory):
    place = tmp_path_factory.mktemp("ward")
    taught(place / "whole", 40, layers=2)
    cut(place / "whole", place / "cut")
    (place / "text.txt").write_text(language(3000, 7))
    return place


def call(ward, out, *words):
    given = [
        "heal",
        ward / "cut",
        "--teacher",
        ward / "whole",
        "--text",
        ward / "text.txt",
        "-o",
        out,
        "--window",
        "32",
    ]
    return CliRunner().invoke(app, [*map(str, given), *words])


def test_memory_is_said_before_and_the_receipt_after(ward, tmp_path, monkeypatch):
    monkeypatch.setenv("PENNYWEIGHT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "160")
    done = call(ward, tmp_path / "out", "--tokens", "2e3", "--minutes", "60")
    assert done.exit_code == 0, done.exception
    first, second, *rest = done.stdout.splitlines()
    assert first.startswith("Learns from at most 2,000 tokens of ")
    assert second.startswith("Needs at most ")
    assert "as it came" in done.stdout
    assert "2,000 tokens, 8 steps of" in done.stdout
    assert rest[-1].startswith("It took ")
    done = call(ward, tmp_path / "again", "--tokens", "2e3", "--lora", "2", "--only", "self_attn,norm", "--json")
    facts = json.loads(done.stdout)
    assert facts["after"] < facts["before"]
    assert (facts["out"], facts["tokens"]) == (str(tmp_path / "again"), 2000)


def test_contradictions_are_said_at_once(ward, tmp_path):
    done = call(ward, tmp_path / "out", "--resume", "--force")
    assert isinstance(done.exception, BadInputError)
    assert "begins again" in str(done.exception)
    done = call(ward, tmp_path / "out", "--dtype", "int8")
    assert "not computed in 'int8'" in str(done.exception)


def test_the_bar_tells_loss_perplexity_dollars_and_time():
    assert told(Now("opening")) == "opening"
    line = told(Now("learning", 0.5, 1.25, 12.5, 11.5, 0.01, 90.0))
    assert line == "learning · loss 1.25 · perplexity 12.5 (teacher 11.5) · $0.0100 · 1 min 30 s left"
    assert "left" not in told(Now("learning", 0.1, 1.25, 12.5, 11.5, 0.01, math.nan))
