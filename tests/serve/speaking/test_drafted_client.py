"""A checkpoint served with a draft, as a person does, asked with OpenAI's client: what is told, paid and counted."""

import os
import subprocess
import sys
from types import SimpleNamespace

import httpx
import openai
import pytest
import torch
from llamas import write_llama
from speaking_parts import rows

from pennyweight.cli.serving import drafted
from pennyweight.errors import BadInputError
from pennyweight.runtimes.hf import open_model
from pennyweight.runtimes.hf.tokenizer import read_tokenizer
from pennyweight.serve.place import Drafted
from pennyweight.serve.versions.loading import ready
from pennyweight.store.team.registry import Version
from pennyweight.store.team.usage import Price

COMMAND = [sys.executable, "-c", "from pennyweight.cli import main; main()"]
PROMPT = "The miller said that"
SHAPE = {"context": 96, "layers": 2, "width": 32}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("drafts")
    return [write_llama(place / name, noise=noise, **SHAPE) for name, noise in (("large", 1.0), ("small", 0.97))]


@pytest.fixture(scope="module")
def here(tmp_path_factory, folders):
    home = tmp_path_factory.mktemp("home")
    env = os.environ | {"PENNYWEIGHT_HOME": str(home)}
    words = ["serve", f"{folders[0]}/", "--draft", f"{folders[1]}", "--draft-tokens", "4", "--port", "0"]
    words += ["--store", str(home / "team.db")]
    with subprocess.Popen([*COMMAND, *words], env=env, stdout=subprocess.PIPE, text=True) as server:
        said = server.stdout.readline().split()
        yield SimpleNamespace(address=said[-1], store=str(home / "team.db"))
        server.terminate()
        assert server.wait(60) == 0


def test_a_text_is_what_it_is_without_and_usage_rows_and_metrics_tell_of_the_guesses(here, folders):
    tokenizer = read_tokenizer(folders[0], 384)
    prompt = torch.tensor(tokenizer.encode(PROMPT))[None]
    more = {"max_new_tokens": 40, "do_sample": False}
    alone = open_model(folders[0]).generate(prompt, attention_mask=torch.ones_like(prompt), **more)
    wanted = alone[0, prompt.shape[1] :].tolist()
    asked = {"model": "large", "prompt": PROMPT, "max_tokens": 40, "temperature": 0}
    with openai.OpenAI(api_key="none", base_url=f"{here.address}/v1", max_retries=0, timeout=120) as client:
        whole = client.completions.create(**asked)
        parts = list(client.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    assert whole.choices[0].text == tokenizer.decode(wanted)
    assert "".join(each.choices[0].text for each in parts[:-1]) == tokenizer.decode(wanted)
    right = wrong = 0
    for used in (whole.usage, parts[-1].usage):
        assert used.completion_tokens == len(wanted)
        right += used.completion_tokens_details.accepted_prediction_tokens
        wrong += used.completion_tokens_details.rejected_prediction_tokens
    assert len(wanted) < right < 2 * len(wanted)
    assert [row[:2] for row in rows(here.store).values()] == [(prompt.shape[1], len(wanted))] * 2
    told = httpx.get(f"{here.address}/metrics", timeout=60).text.splitlines()
    counts = {line.split("{")[0]: float(line.split()[-1]) for line in told if 'model="large"' in line}
    assert counts["pennyweight_drafted_tokens_total"] == right + wrong
    assert counts["pennyweight_accepted_tokens_total"] == right
    assert counts["pennyweight_tokens_total"] == 2 * len(wanted) > 2 * counts["pennyweight_steps_total"]


def test_what_reads_one_token_at_a_time_has_no_draft(tmp_path):
    with pytest.raises(BadInputError, match="gpt@1 reads one token at a time"):
        ready(Version("gpt", 1, "0" * 64, str(tmp_path)), Price("gpt"), None, Drafted("ngram"))


def test_what_guesses_is_a_checkpoint_or_ngram_and_so_many_tokens(folders, tmp_path):
    assert drafted("ngram", 3, emits=False) == Drafted("ngram", 3)
    assert drafted(str(folders[1]), 0, emits=False) == Drafted(str(folders[1]), 0)
    assert drafted("", 0, emits=True) == Drafted()
    with pytest.raises(BadInputError, match="is no checkpoint that could guess"):
        drafted(str(tmp_path), 0, emits=False)
    with pytest.raises(BadInputError, match="Nothing guesses tokens"):
        drafted("", 4, emits=False)
    with pytest.raises(BadInputError, match="33 tokens are not guessed at once"):
        drafted("ngram", 33, emits=False)
    with pytest.raises(BadInputError, match="planned without a draft"):
        drafted("ngram", 0, emits=True)
