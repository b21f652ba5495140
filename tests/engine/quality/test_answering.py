import numpy as np
import pytest
from llamas import FAMILIES, write_llama

from pennyweight.engine.quality import answering
from pennyweight.engine.quality.answering import Reader, answer, generated, likelihoods
from pennyweight.engine.quality.retrieving import DEPTHS, NUMBERS, hidden, probes, retrieve
from pennyweight.engine.quality.tasks import Sample
from pennyweight.engine.quality.text import encode, ids_of
from pennyweight.errors import BadInputError, CorruptError
from pennyweight.runtimes.hf import open_model, open_tokenizer


@pytest.fixture(scope="module")
def reader(pupils):
    return Reader(open_model(pupils / "good"), open_tokenizer(pupils / "good"), 256)


def one_by_one(model, context, ending):
    import torch

    ids = torch.tensor([[*context, *ending]])
    said = model(ids).logits[0].log_softmax(-1)
    return sum(float(said[len(context) - 1 + at, token]) for at, token in enumerate(ending))


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "bert"])
def test_endings_beside_each_other_are_as_likely_as_alone_in_every_family(tmp_path, family, monkeypatch):
    model, rng = open_model(write_llama(tmp_path, family=family)), np.random.default_rng(0)
    context = rng.integers(6, 380, 60).tolist()
    pairs = [(context, rng.integers(6, 380, size).tolist()) for size in (1, 4, 2)]
    wanted = [one_by_one(model, *pair) for pair in pairs]
    assert likelihoods(model, pairs)[0] == pytest.approx(wanted, abs=1e-4)
    monkeypatch.setattr(answering, "_LONG", 1000)
    assert likelihoods(model, pairs)[0] == pytest.approx(wanted, abs=1e-4)
    uneven = [(context[at:], ending) for at, (_, ending) in enumerate(pairs)]
    assert likelihoods(model, uneven)[0] == pytest.approx([one_by_one(model, *pair) for pair in uneven], abs=1e-4)


def test_the_likeliest_ending_is_the_answer(reader):
    samples = [
        Sample("words", ("the mill stood by",) * 3, (" the", " zzqx", " wqzj"), 0),
        Sample("words", ("the mill stood by",) * 3, (" the", " zzqx", " wqzj"), 1),
        Sample("words", ("", ""), ("the", "zzqx"), 0),
    ]
    assert answer(reader, samples, lambda _: None).plain.tolist() == [True, False, True]


def test_by_length_a_long_ending_can_win(reader):
    long = " the weight of the mill and the river and the mill"
    logs, _ = likelihoods(reader.model, [reader.pair("of", each) for each in (" zq", long)])
    assert logs[0] > logs[1]
    answers = answer(reader, [Sample("t", ("of", "of"), (" zq", long), 1)], lambda _: None)
    assert (answers.plain[0], answers.by_length[0]) == (False, True)


def test_what_is_generated_is_what_transformers_generates_up_to_where_it_stops(reader):
    import torch

    ids = reader.tokenizer("the mill", verbose=False)["input_ids"]
    wanted = reader.model.generate(
        torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), max_new_tokens=12, do_sample=False, pad_token_id=1
    )[0, len(ids) :]
    text = reader.tokenizer.decode(wanted, skip_special_tokens=True)
    assert len(text) > 8
    assert generated(reader, Sample("t", ("the mill",), until=(), most_new=12)) == text
    stop = text[4:7]
    short = text[: text.index(stop)]
    assert generated(reader, Sample("t", ("the mill",), until=(stop,), most_new=12)) == short
    right = Sample("t", ("the mill",), answer=short, until=(stop,), most_new=12)
    assert answer(reader, [right, Sample("t", ("the mill",), answer="no")], lambda _: None).plain.tolist() == [
        True,
        False,
    ]


def test_a_single_ending_is_right_if_it_is_what_would_be_said(reader):
    said = generated(reader, Sample("t", ("the mill",), until=(), most_new=1))
    samples = [Sample("t", ("the mill",), (said,)), Sample("t", ("the mill",), (" zzqx",))]
    assert answer(reader, samples, lambda _: None).plain.tolist() == [True, False]


def test_a_space_between_belongs_to_the_ending_and_a_long_context_loses_its_beginning(reader):
    assert reader.pair("the mill ", "stood") == reader.pair("the mill", " stood")
    first, last = reader.pair("the mill stood by the river " * 200, "and")
    assert len(first) + len(last) == 256
    assert reader.tokenizer.decode([*first, *last]).endswith("the river and")


def test_numbers_are_hidden_where_and_as_deep_as_asked(reader):
    asked = probes((96, 200), 3, 256)
    assert len(asked) == 2 * len(DEPTHS) * 3
    text, seen = encode(["the mill stood by the river. " * 60], reader.tokenizer), []
    for probe in asked:
        endings = [ids_of(number, reader.tokenizer) for number in probe.numbers]
        ids = hidden(reader, np.concatenate(text.documents), probe, max(map(len, endings)))
        assert len(ids) + max(map(len, endings)) == probe.length
        said = reader.tokenizer.decode(ids)
        assert said.count(probe.numbers[0]) == 1
        assert said.endswith(probe.question)
        seen.append((probe.depth, said.index(probe.needle) / len(said)))
    at = [np.mean([share for depth, share in seen if depth == each]) for each in DEPTHS]
    assert at == sorted(at)
    assert at[0] < 0.01
    assert at[-1] > 0.5


def test_what_is_found_is_ranked_among_ten(reader, pupils):
    text = encode([(pupils / "short.txt").read_text()], reader.tokenizer)
    found = retrieve(reader, text, probes((96,), 4, 256), lambda _: None)
    assert found.rank.shape == (20,)
    assert found.rank.min() >= 0
    assert found.rank.max() < NUMBERS


def test_what_is_looked_through_begins_as_the_tokenizer_begins_texts(reader, pupils):
    from tokenizers.processors import TemplateProcessing

    begins = open_tokenizer(pupils / "good")
    mark = begins.bos_token
    begins.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{mark} $A", special_tokens=[(mark, begins.bos_token_id)]
    )
    marked = Reader(reader.model, begins, 256)
    (probe, *_) = probes((96,), 1, 256)
    ids = hidden(marked, np.arange(6, 60), probe, 6)
    assert ids[0] == begins.bos_token_id
    assert ids.count(begins.bos_token_id) == 1
    assert len(ids) == 90


def test_answers_that_are_no_numbers_are_refused_by_the_name_of_the_model(reader, pupils):
    import torch

    broken = open_model(pupils / "good")
    with torch.no_grad():
        broken.lm_head.weight.fill_(torch.nan)
    asks, text = Reader(broken, reader.tokenizer, 256, "broken"), encode(["the mill stood"], reader.tokenizer)
    choice = Sample("t", ("the mill",) * 2, (" the", " a"), 0)
    for sample in (choice, Sample("t", ("the mill",), (" the",)), Sample("t", ("the mill",), answer="x")):
        with pytest.raises(CorruptError, match="model broken answers with numbers that are not finite"):
            answer(asks, [sample], lambda _: None)
    with pytest.raises(CorruptError, match="not finite"):
        retrieve(asks, text, probes((96,), 1, 256), lambda _: None)


@pytest.mark.parametrize("length", [10, 257])
def test_lengths_that_hide_nothing_are_refused(length):
    with pytest.raises(BadInputError, match="Nothing can be hidden"):
        probes((length,), 1, 256)
