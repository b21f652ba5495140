import json

import pytest

from pennyweight.engine.quality.tasks import Sample, read_tasks
from pennyweight.errors import BadInputError


def write(tmp_path, *lines):
    path = tmp_path / "tasks.jsonl"
    path.write_text("\n".join(each if isinstance(each, str) else json.dumps(each) for each in lines))
    return path


def only(tmp_path, **said):
    (sample,) = read_tasks(write(tmp_path, said))
    return sample


def test_choices_are_read_with_their_answer_by_number_letter_or_text(tmp_path):
    for answer in (1, "1", "B", "beta"):
        sample = only(tmp_path, question="Which?", choices=["alpha", "beta"], answer=answer)
        assert sample == Sample("tasks", ("Which?",) * 2, (" alpha", " beta"), 1)


def test_choices_with_labels_of_their_own_are_read(tmp_path):
    sample = only(tmp_path, context="Q: ", choices={"text": ["x", "y"], "label": ["1", "2"]}, answerKey="2", task="arc")
    assert (sample.gold, sample.task, sample.endings) == (1, "arc", ("x", "y"))


def test_without_choices_the_text_is_to_be_matched(tmp_path):
    sample = only(tmp_path, prompt="2 + 2 =", answer=4, stop=["\n", "."], max_tokens=5)
    assert (sample.answer, sample.endings, sample.until, sample.most_new) == ("4", (), ("\n", "."), 5)


def test_samples_of_the_harness_are_read_as_it_writes_them(tmp_path):
    sample = only(
        tmp_path,
        doc_id=0,
        doc={"query": "…"},
        target="1",
        arguments={"gen_args_0": {"arg_0": "Q:", "arg_1": " no"}, "gen_args_1": {"arg_0": "Q:", "arg_1": " yes"}},
        resps=[[["-3.1", "False"]], [["-2.1", "False"]]],
        filtered_resps=[["-3.1", "False"], ["-2.1", "False"]],
    )
    assert sample == Sample("tasks", ("Q:", "Q:"), (" no", " yes"), 1)


def test_ten_choices_of_the_harness_keep_their_order(tmp_path):
    arguments = {f"gen_args_{at}": {"arg_0": "Q:", "arg_1": f" {at}!"} for at in range(12)}
    sample = only(tmp_path, doc_id=0, target="11", arguments=dict(sorted(arguments.items())))
    assert sample.endings[sample.gold] == " 11!"


def test_older_samples_of_the_harness_hold_lists(tmp_path):
    assert only(tmp_path, arguments=[["Q:", " no"], ["Q:", " yes"]], target="yes").gold == 1


def test_one_ending_of_the_harness_is_to_be_the_guess(tmp_path):
    sample = only(tmp_path, doc_id=3, target="end", arguments={"gen_args_0": {"arg_0": "To the", "arg_1": " end"}})
    assert (sample.contexts, sample.endings) == (("To the",), (" end",))


def test_what_the_harness_generates_is_matched_with_its_target(tmp_path):
    how = {"until": ["\n\n"], "max_gen_toks": 12, "do_sample": False}
    sample = only(tmp_path, doc_id=0, target="42", arguments={"gen_args_0": {"arg_0": "6 * 7 =", "arg_1": how}})
    assert (sample.answer, sample.until, sample.most_new) == ("42", ("\n\n",), 12)


def test_a_sample_written_once_for_each_filter_counts_once(tmp_path):
    line = {"doc_id": 0, "target": "0", "arguments": [["Q:", " no"], ["Q:", " yes"]]}
    file = write(tmp_path, line | {"filter": "strict"}, line | {"filter": "loose"}, line | {"target": "1"})
    assert len(read_tasks(file)) == 2


def test_a_question_that_is_asked_twice_counts_once(tmp_path):
    line = {"question": "6 * 7 =", "answer": "42"}
    assert len(read_tasks(write(tmp_path, line, line, line | {"answer": "43"}))) == 2


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "is not JSON"),
        ("[]", "does not hold one object"),
        ({"choices": ["a", "b"], "answer": 0}, "has no question"),
        ({"question": "q", "choices": ["a", "b"]}, "has no answer"),
        ({"question": "q", "choices": ["a"], "answer": 0}, "no list of two texts"),
        ({"question": "q", "choices": ["a", 3], "answer": 0}, "no list of two texts"),
        ({"question": "q", "choices": "ab", "answer": 0}, "no list of two texts"),
        ({"question": "q", "choices": ["a", "b"], "answer": 2}, "none of its 2 choices"),
        ({"question": "q", "choices": ["a", "b"], "answer": "c"}, "none of its 2 choices"),
        ({"question": "q", "choices": ["a", "b"], "answer": True}, "none of its 2 choices"),
        ({"question": "q", "answer": ["a"]}, "an answer that is no text"),
        ({"question": "q", "answer": " "}, "an answer that is no text"),
        ({"question": "q", "answer": "a", "stop": 3}, "stops at what is no text"),
        ({"question": "q", "answer": "a", "max_tokens": 0}, "asks for 0 tokens"),
        ({"arguments": {}, "target": "0"}, "has no arguments"),
        ({"arguments": [["whole text"]], "target": ""}, "no context with what follows it"),
        ({"arguments": [["Q", " a"], ["Q", ""]], "target": "0"}, "no context with what follows it"),
        ({"arguments": [["Q", " a"], ["Q", " b"]], "target": "7"}, "none of its 2 choices"),
        ({"arguments": [["Q", {"until": []}]], "target": None}, "no single target"),
    ],
)
def test_a_line_that_is_no_question_is_named_by_its_number(tmp_path, line, said):
    good = {"question": "q", "choices": ["a", "b"], "answer": 0}
    with pytest.raises(BadInputError, match=rf"Line 3 of .*{said}"):
        read_tasks(write(tmp_path, good, "", line))


def test_a_file_without_questions_is_refused(tmp_path):
    with pytest.raises(BadInputError, match="holds no questions"):
        read_tasks(write(tmp_path, ""))
