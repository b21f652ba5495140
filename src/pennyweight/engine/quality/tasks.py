"""Questions with known answers, from a JSONL file: choices, or a text to be matched exactly.

Two layouts are read. Ours is {"question": …, "choices": […], "answer": …}, or without choices. The other is that of the
samples that lm-evaluation-harness writes with --log_samples, where prompts are rendered: {"arguments": …, "target": …}.
"""

from __future__ import annotations

from dataclasses import dataclass
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any, final

from pennyweight.engine.quality.text import body_of, lines_of, parsed
from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_QUESTIONS = ("question", "context", "prompt", "ctx", "query", "input")
_ANSWERS = ("answer", "label", "gold", "target", "answerKey", "answer_index", "answer_idx")
_MOST_NEW = 64
_FORMS = 'give {"question": …, "choices": […], "answer": …}, or samples of lm-evaluation-harness.'


class _UnreadableError(Exception):
    """Why a line is no question."""


@final
@dataclass(frozen=True, slots=True)
class Sample:
    """One question: with several `endings`, which is the likeliest after its context; with one, is it the guess.

    `contexts` are as many as `endings`; `gold` is the right one. Without `endings`, text is generated after the only
    context until one of `until`, at most `most_new` tokens, and is right if it is `answer`.
    """

    task: str
    contexts: tuple[str, ...]
    endings: tuple[str, ...] = ()
    gold: int = 0
    answer: str = ""
    until: tuple[str, ...] = ("\n",)
    most_new: int = _MOST_NEW


def read_tasks(file: Path) -> list[Sample]:
    """The questions of a JSONL file; raises `BadInputError` naming the line that is none.

    One that is there again counts once, as the harness writes it for each of its filters: it tells nothing new.
    """
    samples = dict[Sample, None]()
    for number, line in lines_of(body_of(file)):
        said = parsed(line, file, number)
        try:
            samples[_rendered(said) if "arguments" in said else _plain(said)] = None
        except _UnreadableError as error:
            raise BadInputError(f"Line {number} of {file} {error}.", _FORMS) from error
    if not samples:
        raise BadInputError(f"{file} holds no questions.", _FORMS)
    return list(samples)


def _plain(said: Mapping[str, Any]) -> Sample:
    question = next((said[key] for key in _QUESTIONS if isinstance(said.get(key), str)), None)
    if question is None:
        raise _UnreadableError("has no question")
    key = next((key for key in _ANSWERS if key in said), None)
    if key is None:
        raise _UnreadableError("has no answer")
    task = str(said.get("task", "tasks"))
    if "choices" not in said:
        return _exact(task, question, said[key], said)
    choices, labels = _choices(said["choices"])
    endings = tuple(_apart(question, choice) for choice in choices)
    return Sample(task, (question,) * len(endings), endings, _gold(said[key], choices, labels))


def _exact(task: str, question: str, answer: Any, said: Mapping[str, Any]) -> Sample:
    if not isinstance(answer, str | int | float) or not str(answer).strip():
        raise _UnreadableError("has an answer that is no text")
    until, most = said.get("until", said.get("stop", "\n")), said.get("max_tokens", _MOST_NEW)
    return Sample(task, (question,), (), 0, str(answer), _stops(until), _count(most))


def _choices(said: Any) -> tuple[list[str], list[str]]:
    """Choices and what they are called: a list, or {"text": […], "label": […]}."""
    texts = said.get("text") if isinstance(said, dict) else said
    labels = said.get("label", []) if isinstance(said, dict) else []
    if not isinstance(texts, list) or len(texts) < 2 or not all(isinstance(each, str) and each for each in texts):
        raise _UnreadableError("has choices that are no list of two texts or more")
    return texts, [str(each) for each in labels] or list(ascii_uppercase[: len(texts)])


def _gold(answer: Any, choices: Sequence[str], labels: Sequence[str]) -> int:
    """Which choice is right: by its number from zero, its text or its letter."""
    if type(answer) is int and 0 <= answer < len(choices):
        return answer
    if isinstance(answer, str):
        stripped = [choice.strip() for choice in choices]
        for known in (stripped, labels):
            if known.count(answer.strip()) == 1:
                return known.index(answer.strip())
        if answer.strip().isdecimal() and int(answer) < len(choices):
            return int(answer)
    raise _UnreadableError(f"has the answer {answer!r}, which is none of its {len(choices)} choices")


def _apart(context: str, ending: str) -> str:
    """An ending with a space before it, if nothing else parts it from its context."""
    return ending if context[-1:].isspace() or ending[:1].isspace() or not context else f" {ending}"


def _rendered(said: Mapping[str, Any]) -> Sample:
    task = str(said.get("task", said.get("task_name", "tasks")))
    pairs = _arguments(said["arguments"])
    target = said.get("target")
    if isinstance(pairs[0][1], dict):
        if len(pairs) > 1 or not isinstance(target, str | int | float):
            raise _UnreadableError("has no single target to generate")
        how = pairs[0][1]
        most = _count(how.get("max_gen_toks", how.get("max_new_tokens", _MOST_NEW)))
        return Sample(task, (pairs[0][0],), (), 0, str(target), _stops(how.get("until", "\n")), most)
    contexts, endings = tuple(pair[0] for pair in pairs), tuple(str(pair[1]) for pair in pairs)
    if len(pairs) == 1:
        return Sample(task, contexts, endings)
    if isinstance(target, str) and target.isdecimal() and int(target) < len(pairs):
        return Sample(task, contexts, endings, int(target))  # it writes numbers of choices as text
    choices = contexts if len(set(endings)) == 1 else endings
    return Sample(task, contexts, endings, _gold(target, choices, ascii_uppercase[: len(pairs)]))


def _arguments(said: Any) -> list[tuple[str, Any]]:
    """Pairs of a context and what follows it, as the harness writes them: lists, or gen_args_0 with arg_0 and arg_1."""
    if isinstance(said, dict):
        said = [said[key] for key in sorted(said, key=lambda key: (len(key), key))]
    if not isinstance(said, list) or not said:
        raise _UnreadableError("has no arguments")
    return [_pair(each) for each in said]


def _pair(said: Any) -> tuple[str, Any]:
    if isinstance(said, dict):
        said = [said.get("arg_0"), said.get("arg_1")]
    if not isinstance(said, list) or len(said) < 2 or not isinstance(said[0], str):
        raise _UnreadableError("has arguments that are no context with what follows it")
    if not isinstance(said[1], dict) and (not isinstance(said[1], str) or not said[1]):
        raise _UnreadableError("has arguments that are no context with what follows it")
    return said[0], said[1]


def _stops(said: Any) -> tuple[str, ...]:
    stops = [said] if isinstance(said, str) else said
    if not isinstance(stops, list) or not all(isinstance(each, str) for each in stops):
        raise _UnreadableError("stops at what is no text")
    return tuple(each for each in stops if each)


def _count(said: Any) -> int:
    if type(said) is not int or said < 1:
        raise _UnreadableError(f"asks for {said!r} tokens")
    return said
