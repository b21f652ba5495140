"""Texts that are guessed at, together and of different lengths, are those that nobody guesses at."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from llamas import build, write_llama
from scipy.stats import chisquare

from pennyweight.core import ServeSpec
from pennyweight.errors import BadInputError
from pennyweight.runtimes.drafting import ModelDraft
from pennyweight.runtimes.guessing import NgramDraft
from pennyweight.runtimes.hf.chorus import TorchChorus
from pennyweight.runtimes.hf.opening import open_drafted, open_hf
from pennyweight.runtimes.tokens import Characters
from pennyweight.serve.refused import RefusedError
from pennyweight.serve.speaking.choir import Choir, Limits
from pennyweight.serve.speaking.drawing import Draw
from pennyweight.serve.speaking.guessing import Guessing
from pennyweight.serve.speaking.opening import prove_checked
from pennyweight.serve.speaking.part import Wanted

CONTEXT = 96
PATIENT = {"patience_s": 600.0, "longest_s": 600.0}
PROMPTS = (
    "A sack of rye",
    "The",
    "In winter the river froze and the wheel stood still, so the miller",
    "é",
    "a b a b a b",
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A model, one that is nearly the same, and one that says something else."""
    place = tmp_path_factory.mktemp("drafted")
    near = {"context": CONTEXT, "layers": 2, "width": 32}
    return {
        "model": write_llama(place / "model", noise=1.0, **near),
        "near": write_llama(place / "near", noise=0.97, **near),
        "far": write_llama(place / "far", noise=1.0, seed=5, context=CONTEXT, layers=1, width=32),
    }


@pytest.fixture(scope="module", params=["torch", "openvino"])
def models(request, folders):
    """What continues texts in a runtime, and what guesses, by its name."""
    serve = ServeSpec(runtime=request.param)
    found = {each: open_drafted(folders["model"], serve, folders[each]) for each in ("near", "far")}
    chorus, tokenizer, near = found["near"]
    return chorus, tokenizer, {"near": near, "far": found["far"][2], "ngram": NgramDraft()}


@pytest.fixture
def pool():
    with ThreadPoolExecutor(1) as found:
        yield found


def choir(models, pool, draft="", count=3, **limits):
    chorus, tokenizer, drafts = models
    guessing = Guessing(drafts[draft], count) if draft else None
    return Choir(chorus, tokenizer, pool, Limits(inline_s=0.0, **PATIENT, **limits), guessing=guessing)


def wanted(models, text, most=30, draw=None, **more):
    return Wanted(models[1].encode(text), most, draw or Draw(0.0), **more)


async def said(part):
    return "".join([each async for each in part.texts()])


def sung(mine, asked, pause_s=0.0):
    """All texts, each begun a moment after the one before; the parts and what they said."""

    async def sing():
        parts = []
        for each in asked:
            parts.append(mine.begin(each))
            if pause_s:
                await asyncio.sleep(pause_s)
        return [(part, await said(part)) for part in parts]

    return asyncio.run(sing())


def made(found):
    return [(part.made, text, part.reason) for part, text in found]


@pytest.mark.parametrize("draft", ["near", "far", "ngram"])
def test_texts_are_token_for_token_those_without_a_draft(models, pool, draft):
    asked = [(each, most) for most in (30, 7, 1, 2) for each in PROMPTS]
    plain = sung(choir(models, pool), [wanted(models, *each) for each in asked])
    mine = choir(models, pool, draft, most_read=8, most_texts=8)  # so long prompts are read in parts, others wait
    found = sung(mine, [wanted(models, *each) for each in asked], 0.002)
    assert made(found) == made(plain)
    assert mine.guessed > 50
    assert (mine.right > 0) is (draft != "far")
    assert mine.right < mine.guessed
    assert mine.right == sum(part.right for part, _ in found)
    assert mine.guessed == sum(part.guessed for part, _ in found)
    assert all(part.right < len(part.made) for part, _ in found)  # the model itself says the last


@pytest.mark.parametrize(("draft", "heat"), [("near", 0.8), ("ngram", 0.05)])
def test_a_seed_gives_the_text_that_it_gives_without_a_draft(models, pool, draft, heat):
    def asked():
        return [wanted(models, each, 60, Draw(heat, 0.9, seed=at)) for at, each in enumerate(PROMPTS * 2)]

    plain, mine = sung(choir(models, pool), asked()), choir(models, pool, draft)
    assert made(sung(mine, asked())) == made(plain)
    assert mine.guessed > mine.right > 0


def test_most_of_what_a_near_model_guesses_holds_and_steps_are_saved(models, pool):
    plain, mine = choir(models, pool), choir(models, pool, "near")
    for each in (plain, mine):
        sung(each, [wanted(models, text, 30) for text in PROMPTS])
    assert mine.made == plain.made
    assert mine.right > 0.5 * mine.guessed
    assert mine.steps < 0.6 * plain.steps


def test_as_many_are_guessed_as_pay_where_nobody_says_how_many(models, pool):
    mine = choir(models, pool, "near", 0)
    prove_checked("tiny", mine)
    assert mine.guessing.reading.rows > 0
    plain = sung(choir(models, pool), [wanted(models, each, 20) for each in PROMPTS])
    assert made(sung(mine, [wanted(models, each, 20) for each in PROMPTS])) == made(plain)


def test_a_stop_sequence_among_guesses_that_hold_ends_the_text_where_it_would(models, pool):
    """What was guessed behind it was never made."""
    checked = 0
    for prompt in PROMPTS[:3]:
        ((_, text),) = sung(choir(models, pool), [wanted(models, prompt, 30)])
        for at in range(4, 12):
            more = {"stops": (text[at : at + 2],)}
            ((alone, _),) = plain = sung(choir(models, pool), [wanted(models, prompt, 30, **more)])
            ((part, _),) = found = sung(choir(models, pool, "near", 8), [wanted(models, prompt, 30, **more)])
            assert made(found) == made(plain)
            assert part.reason == "stop"
            assert part.right < part.guessed
            checked += part.right > 0 and len(alone.made) < 30
    assert checked > 5


def test_who_hangs_up_while_guessed_at_has_made_what_it_would_and_the_others_go_on(models, pool):
    plain = made(sung(choir(models, pool), [wanted(models, each, 60) for each in PROMPTS[:3]]))

    async def sing():
        mine = choir(models, pool, "near")
        parts = [mine.begin(wanted(models, each, 60)) for each in PROMPTS[:3]]
        async for _ in parts[1].texts():
            parts[1].end("gone")
        others = [await said(parts[0]), await said(parts[2])]
        return parts, others

    parts, others = asyncio.run(sing())
    assert others == [plain[0][1], plain[2][1]]
    assert [parts[at].made for at in (0, 2)] == [plain[at][0] for at in (0, 2)]
    gone = parts[1].made
    assert parts[1].reason == "gone"
    assert gone == plain[1][0][: len(gone)]
    assert 0 < len(gone) < 60


def test_a_draft_that_fails_is_left_alone_for_a_while_and_nobody_notices(models, pool, monkeypatch):
    mine, fails = choir(models, pool, "near"), []

    def fail(_):
        fails.append(1)
        raise BadInputError("No.", "none.")

    plain = sung(choir(models, pool), [wanted(models, "The", 40)])
    monkeypatch.setattr(mine.guessing.draft, "guess", fail, raising=False)
    assert made(sung(mine, [wanted(models, "The", 40)])) == made(plain)
    assert 1 < len(fails) < 5
    assert mine.guessed == 0


def test_a_model_that_fails_while_guessed_at_fails_those_who_were_there_and_serves_the_next(models, pool, monkeypatch):
    mine = choir(models, pool, "near")
    with monkeypatch.context() as patch:
        patch.setattr(mine.chorus, "told", None)
        with pytest.raises(RefusedError, match="The model failed"):
            sung(mine, [wanted(models, "The", 9)])
    assert made(sung(mine, [wanted(models, "The", 9)])) == made(sung(choir(models, pool), [wanted(models, "The", 9)]))


def test_a_draft_with_other_tokens_is_refused_in_a_sentence(folders, tmp_path):
    other = write_llama(tmp_path / "other", layers=1, width=32, vocabulary=330)
    with pytest.raises(BadInputError, match=r"cannot guess for .*: its tokenizer has other tokens") as error:
        open_drafted(folders["model"], ServeSpec("torch"), other)
    assert "ngram" in error.value.fix


def test_a_draft_shares_the_memory_for_texts(folders):
    alone, _ = open_hf(folders["model"], ServeSpec("openvino"))
    chorus, _, draft = open_drafted(folders["model"], ServeSpec("openvino"), folders["near"])
    assert 0 < chorus.room <= alone.room
    assert draft._chorus.room == chorus.room


TOKENS, TEXTS, TOGETHER, LONG = 4, 3500, 500, 3


def little(seed):
    """A model of four tokens that is rather sure of what it says, in torch."""
    shape = {"num_attention_heads": 2, "num_key_value_heads": 1, "hidden_size": 16, "intermediate_size": 16}
    shape |= {"num_hidden_layers": 1, "vocab_size": TOKENS, "max_position_embeddings": 16}
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        model = build("llama", shape).eval()
    for weight in model.parameters():
        weight.data.mul_(12.0 if weight.dim() > 1 else 1.0)
    return TorchChorus(model, 16)


def chances(chorus, prompt, draw):
    """The exact chance of every text of so many tokens."""
    found = np.zeros((TOKENS,) * LONG)
    for text in np.ndindex(found.shape):
        logits = [chorus.prefill([np.array([*prompt, *text[:at]])])[0][0] for at in range(LONG)]
        found[text] = np.prod([draw.chances(each)[token] for each, token in zip(logits, text, strict=True)])
    return found


def drawing(seed):
    """Chances of its own, but not a seed that was asked for: guesses are drawn too."""
    draw = Draw(0.9, 0.95)
    draw._chance = np.random.default_rng(seed)
    return draw


def test_what_is_drawn_has_the_chances_that_the_model_says(pool):
    """10,500 tokens in 3,500 texts of three, held against the exact chances of all 64 texts."""
    prompt, chorus = np.array([1, 2]), little(3)
    exact, counts = chances(chorus, prompt, Draw(0.9, 0.95)), np.zeros((TOKENS,) * LONG)
    limits = Limits(most_texts=TOGETHER, inline_s=10.0, most_read=2 * TOGETHER, **PATIENT)
    guessing = Guessing(ModelDraft(little(4), TOKENS), 2)
    mine = Choir(chorus, Characters("abcd"), pool, limits, guessing=guessing)
    for group in range(TEXTS // TOGETHER):
        for part, _ in sung(mine, [Wanted(prompt, LONG, drawing((group, at))) for at in range(TOGETHER)]):
            counts[tuple(part.made)] += 1
    assert abs(exact.sum() - 1) < 1e-6
    assert counts.sum() == TEXTS
    assert not counts[exact == 0].any()
    assert min(mine.right, mine.guessed - mine.right) > 500
    often = TEXTS * exact > 5
    seen, due = [*counts[often], counts[~often].sum()], [*(TEXTS * exact[often]), TEXTS * exact[~often].sum()]
    assert len(due) > 20
    assert chisquare(seen, np.array(due) * sum(seen) / sum(due)).pvalue > 1e-3
