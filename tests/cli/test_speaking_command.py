"""From a text to a trained language model, served by OpenAI's protocol and billed by the token: by commands alone."""

import json
import re
import signal
from pathlib import Path

import openai
import pytest
from processes import RECIPE, begin, call

from pennyweight.store.artifacts import load

SMALL = """
import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from pennyweight import Floor, TrainSpec, torch_job

spec = importlib.util.spec_from_file_location("char_gpt", Path(ROOT) / "recipes" / "char_gpt.py")
recipe = sys.modules["char_gpt"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(recipe)


def job(data=None):
    alphabet, codes = np.unique(list("the cat sat on the mat.\\n" * 3500), return_inverse=True)
    shape = recipe.Shape(len(alphabet), layers=1, heads=1, width=16)
    train = TrainSpec(epochs=0.2, batch=16)
    floor = Floor.parse("perplexity=1%")
    made = recipe.windows(codes.astype(np.int64))
    return torch_job("small_gpt", recipe.Maker(shape), made, floor, train=train, alphabet="".join(alphabet))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speaks")
    root = str(Path(__file__).resolve().parents[2])
    (folder / "gpt.py").write_text(SMALL.replace("ROOT", repr(root)))
    for words in (
        ("train", "gpt.py", "-o", "gpt.pw"),
        ("registry", "add", "gpt.pw", "--name", "gpt"),
        ("registry", "promote", "gpt@1"),
        ("tariff", "gpt", "--row", "0.000000010usd", "--answer", "0.000000100usd"),
    ):
        code, _, err = call(folder, *words)
        assert code == 0, err
    return folder


def test_a_trained_language_model_keeps_how_it_reads_text_and_how_it_goes_on(place):
    made = load(place / "gpt.pw")
    assert made.facts["alphabet"] == "\n .acehmnost"
    assert "ragged.onnx" in dict(made.files)


def test_it_is_served_asked_and_billed_by_the_token(place):
    code, out, err = call(place, "tenants", "add", "acme", "--budget", "1usd/day", "--json")
    assert code == 0, err
    key = json.loads(out)["key"]
    server = begin(place, "serve", "gpt", "--port", "0", "--api", "openai")
    try:
        said = server.stdout.readline()
        assert re.fullmatch(r"gpt@1 at http://127\.0\.0\.1:\d+\n", said), server.communicate(timeout=60)
        with openai.OpenAI(base_url=f"{said.split()[-1]}/v1", api_key=key, max_retries=0) as client:
            told = client.completions.create(model="gpt", prompt="the cat", max_tokens=10, temperature=0)
            chunks = list(client.completions.create(model="gpt", prompt="the", max_tokens=5, stream=True))
        assert (told.usage.prompt_tokens, told.usage.completion_tokens) == (7, 10)
        assert len("".join(each.choices[0].text for each in chunks)) == 5
    finally:
        server.send_signal(signal.SIGTERM)
        _, err = server.communicate(timeout=60)
    assert (server.returncode, err) == (0, "")
    code, out, err = call(place, "bill", "--by", "tenant,model", "--json")
    assert code == 0, err
    (line,) = json.loads(out)
    assert (line["requests"], line["total_nusd"]) == (2, (7 + 3) * 10 + (10 + 5) * 100)


def test_a_model_that_reads_no_text_is_not_served_by_that_protocol(place):
    (place / "halves.py").write_text(RECIPE.replace("EPOCHS", "0.2"))
    for words in (
        ("train", "halves.py", "-o", "halves.pw"),
        ("registry", "add", "halves.pw", "--name", "halves"),
        ("registry", "promote", "halves@1"),
    ):
        code, _, err = call(place, *words)
        assert code == 0, err
    code, _, err = call(place, "serve", "halves", "--port", "0", "--api", "openai")
    assert code == 2
    assert "halves@1 is no language model" in err
    assert "To fix:" in err
