import json
import math
from dataclasses import replace

import pytest
from llamas import tokenizer, write_llama
from pupils import renumbered, stirred

from pennyweight.core import Phase
from pennyweight.engine.quality import Asked, compare, comparing
from pennyweight.engine.quality.judging import found_check, right_check
from pennyweight.engine.quality.matter import described, matter_of
from pennyweight.engine.quality.retrieving import Found
from pennyweight.engine.shop import Shop
from pennyweight.errors import BadInputError, CorruptError


@pytest.fixture(scope="module")
def asked(pupils):
    return Asked((pupils / "text.txt",))


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    file = tmp_path_factory.mktemp("tasks") / "tasks.jsonl"
    lines = [
        {
            "question": "the mill stood by",
            "choices": ["the", f"zzq{at}"],
            "answer": 0,
            "task": "easy" if at % 2 else "hard",
        }
        for at in range(80)
    ]
    file.write_text("\n".join(map(json.dumps, lines)))
    return file


def test_a_model_against_itself_holds(pupils, asked):
    found = compare(pupils / "good", pupils / "good", asked)
    assert found.held
    assert found.text.ratio == found.text.most == 1
    assert found.divergence.mean == 0
    assert found.divergence.agree == 1
    assert found.text.perplexity[0] == found.text.perplexity[1] < 30


def test_one_that_is_nearly_the_same_holds_and_one_with_noise_in_its_weights_does_not(pupils, asked):
    near, worse = (compare(pupils / "good", pupils / name, asked) for name in ("near", "worse"))
    assert near.held
    assert 1 < near.text.most < 1.01
    assert not worse.held
    assert worse.text.ratio > 1.05
    assert f"it is {worse.text.ratio - 1:.3%} higher, and more text would not mend that" in worse.checks[0].why
    assert (worse.text.most > 1.01, near.text.most <= 1.01) == (True, True)
    assert worse.checks[0].needed is None
    low, high = worse.divergence.interval
    assert 0 < near.divergence.mean < low < worse.divergence.mean < high


def test_bits_per_byte_and_perplexity_say_the_same(pupils, asked):
    text = compare(pupils / "good", pupils / "near", asked).text
    byte = (pupils / "text.txt").stat().st_size
    assert text.byte in {byte - 1, byte - 2, byte - 3, byte - 4}
    for perplexity, bits in zip(text.perplexity, text.bits_per_byte, strict=True):
        assert bits == pytest.approx(math.log2(perplexity) * text.tokens / text.byte)


def test_too_little_text_is_refused_and_how_much_is_needed_said(pupils):
    found = compare(pupils / "good", pupils / "good", Asked((pupils / "short.txt",)))
    (check,) = found.checks
    assert not found.held
    assert check.p_value is None
    assert check.needed == 30 * 512
    assert "too little text" in check.why
    assert "15,360 tokens, about" in check.why
    assert found.text.most is None
    assert found.divergence.interval is None


def test_what_is_too_near_the_floor_for_this_text_says_how_much_would_be_enough(pupils, tmp_path):
    other = stirred(pupils / "good", tmp_path / "other", 0.05)
    ratio = compare(pupils / "good", other, Asked((pupils / "text.txt",))).text.ratio
    found = compare(pupils / "good", other, Asked((pupils / "text.txt",), give_up=max(0, ratio - 1) + 1e-5))
    assert not found.held
    assert found.checks[0].needed > found.text.tokens
    assert "too little text to be sure" in found.checks[0].why


def test_one_after_the_other_finds_the_same_as_both_at_once(pupils, asked, tasks):
    at_once, in_turn = (
        compare(pupils / "good", pupils / "worse", Asked(asked.texts, tasks=tasks, together=together))
        for together in (True, False)
    )
    assert at_once.together
    assert not in_turn.together
    assert at_once.text == in_turn.text
    assert at_once.tasks == in_turn.tasks
    assert at_once.checks == in_turn.checks
    assert in_turn.divergence.mean <= at_once.divergence.mean
    assert in_turn.divergence.agree == at_once.divergence.agree


def test_right_answers_are_told_by_task_and_tested_together(pupils, asked, tasks):
    found = compare(pupils / "good", pupils / "good", Asked(asked.texts, tasks=tasks))
    assert [(task.task, task.n, task.plain) for task in found.tasks] == [("hard", 40, (1, 1)), ("easy", 40, (1, 1))]
    assert found.held
    assert found.checks[1].n == 80
    assert found.checks[1].test.startswith("exact paired")


def test_fewer_right_answers_fail_and_too_few_questions_are_not_enough():
    import numpy as np

    asked = Asked(("text",))
    first = np.ones(200, np.bool_)
    second = first.copy()
    second[:40] = False
    worse = right_check("right answers", first, second, asked)
    assert not worse.held
    assert worse.needed is None
    few = right_check("right answers", first[:20], first[:20], asked)
    assert not few.held
    assert few.needed > 20
    assert "too few to be sure" in few.why
    assert right_check("right answers", first, first, asked).held


def test_a_first_model_that_finds_nothing_certifies_nothing():
    import numpy as np

    lost, good = (Found(np.full(100, rank), np.zeros(100, np.bool_)) for rank in (5, 0))
    assert "no more than luck" in found_check(lost, lost, Asked(("text",))).why
    assert found_check(good, good, Asked(("text",))).held
    assert not found_check(good, lost, Asked(("text",))).held


def test_numbers_are_looked_for_in_every_length(pupils, asked):
    found = compare(pupils / "good", pupils / "good", Asked(asked.texts, lengths=(80, 120), repeats=2))
    assert [(each.length, each.depth) for each in found.retrieved] == [
        (length, depth) for length in (80, 120) for depth in (0, 0.25, 0.5, 0.75, 1)
    ]
    assert all(each.n == 2 and each.found[0] == each.found[1] for each in found.retrieved)
    assert [check.what.split(" at")[0] for check in found.checks] == ["perplexity", "numbers found"]


def test_as_many_numbers_are_hidden_as_can_be_enough():
    assert 5 * 2 * Asked(("text",), lengths=(80, 120)).repeats_of(5) >= 59


def test_it_is_one_entry_on_the_ledger_with_what_it_took(pupils, asked):
    found = compare(pupils / "good", pupils / "near", asked)
    (entry,) = Shop.at().ledger.entries()
    assert entry.phase == Phase.FIND
    assert entry.job == "compare near with good"
    assert entry.cost.device_s == found.cost.cpu_s > 0
    assert entry.cost.joule == found.cost.joule > 0
    assert entry.note["held"] is True


def test_what_cannot_be_compared_is_refused_and_costs_nothing(pupils, asked, tmp_path):
    import shutil

    bert = write_llama(tmp_path / "bert", family="bert")
    with pytest.raises(BadInputError, match="does not go on with text"):
        compare(pupils / "good", bert, asked)
    other = tmp_path / "other"
    shutil.copytree(pupils / "good", other)
    tokenizer(300).save_pretrained(other)
    with pytest.raises(BadInputError, match="split the text differently"):
        compare(pupils / "good", other, asked)
    large = tmp_path / "large"
    shutil.copytree(write_llama(tmp_path / "few", vocabulary=300), large)
    tokenizer().save_pretrained(large)
    with pytest.raises(BadInputError, match="but its model only 300 tokens"):
        compare(pupils / "good", large, asked)
    with pytest.raises(BadInputError, match="more than the models look at"):
        compare(pupils / "good", pupils / "near", Asked(asked.texts, window=300))
    assert not Shop.at().ledger.entries()


def test_a_model_of_numbers_that_are_not_finite_is_booked_and_refused(pupils, asked, tmp_path):
    broken = stirred(pupils / "good", tmp_path / "broken", math.inf)
    with pytest.raises(CorruptError, match="not finite"):
        compare(pupils / "good", broken, asked)
    assert len(Shop.at().ledger.entries()) == 1


def test_it_is_told_how_far_it_is(pupils, asked, tasks):
    heard = []
    compare(pupils / "good", pupils / "near", Asked(asked.texts, tasks=tasks), lambda *told: heard.append(told))
    last = dict(heard)
    assert last["reading the text"] == last["good answers"] == last["near answers"] == 1
    assert all(0 <= share <= 1 for _, share in heard)


@pytest.mark.parametrize(
    "wrong",
    [
        {"give_up": -1},
        {"confidence": 0.4},
        {"give_up_tasks": 0},
        {"give_up_tasks": 1},
        {"texts": ()},
        {"stride": -1},
        {"most_tokens": 0},
    ],
)
def test_what_contradicts_itself_is_said_before_anything_is_opened(wrong):
    with pytest.raises(BadInputError):
        Asked(**{"texts": ("text",)} | wrong)


def test_windows_follow_what_the_models_can_look_at():
    assert Asked(("text",)).windows(256) == (256, 128)
    assert Asked(("text",)).windows(100_000) == (1024, 512)
    assert Asked(("text",)).windows(0) == (1024, 512)
    assert Asked(("text",), window=100, stride=10).windows(256) == (100, 10)
    with pytest.raises(BadInputError, match="skip tokens"):
        Asked(("text",), window=100, stride=101).windows(256)


def test_rounded_weights_are_compared_as_what_they_stand_for(pupils, asked, tmp_path):
    from pennyweight.engine.shrinking import Wish, plan, shrink

    shrink(plan(pupils / "good", Wish("int8", group=32)), tmp_path / "int8")
    shrink(plan(pupils / "good", Wish("int4", group=32)), tmp_path / "int4")
    eight, four = (compare(pupils / "good", tmp_path / name, asked) for name in ("int8", "int4"))
    assert eight.held
    assert 0 < eight.divergence.mean < four.divergence.mean


def test_tokens_that_are_only_numbered_otherwise_can_be_compared(pupils, asked, tasks, tmp_path):
    other = renumbered(pupils / "good", tmp_path / "other")
    wish = Asked(asked.texts, tasks=tasks, lengths=(80,), repeats=2)
    same, found = (compare(pupils / "good", each, wish) for each in (pupils / "good", other))
    assert found.checks[0].held
    assert found.text.ratio == pytest.approx(1, abs=1e-6)
    assert found.divergence is None
    assert found.tasks == same.tasks
    assert [each.rank for each in found.retrieved] == [each.rank for each in same.retrieved]


def test_models_that_are_too_large_for_the_memory_are_opened_one_after_the_other(pupils, asked):
    small = described(pupils / "good")
    matter = matter_of((small, small), asked, lambda _stage, _share: None)
    large = replace(small, parameters=10**13)
    assert comparing._fits((small, small), matter)
    assert not comparing._fits((small, large), matter)
    assert not comparing._fits((small, small), replace(matter, vocabulary=10**12))
