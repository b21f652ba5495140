"""Text to score: documents from files, cut into windows so that each token is scored once, with enough before it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.errors import BadInputError
from pennyweight.store.disk import explained

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_MOST_ROWS = 8
_NUMBERS = 1 << 25  # of a batch's scores at a time


@final
@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Windows of one size: `ids` (B, T) to read, the tokens `targets` (B, K) that follow their last K, and `at` (B, K).

    `at` is where each target stands among all tokens that are scored.
    """

    ids: NDArray[np.int64]
    targets: NDArray[np.int64]
    at: NDArray[np.int64]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Text:
    """Tokens of documents (each (n,)); all but the first of each are scored. `byte` is the UTF-8 of what is scored."""

    documents: tuple[NDArray[np.int64], ...]
    byte: int

    @property
    def scored(self) -> int:
        """How many tokens are scored."""
        return sum(len(each) - 1 for each in self.documents)

    @property
    def owners(self) -> NDArray[np.int64]:
        """The document (N,) of each scored token."""
        return np.repeat(np.arange(len(self.documents)), [len(each) - 1 for each in self.documents])

    def batches(self, window: int, stride: int, vocabulary: int) -> Iterator[Batch]:
        """Windows of at most `window` tokens, of which the last `stride` (in a document's first: all) are scored."""
        found = groupby(self._windows(window, stride), key=lambda each: (each[1].size, each[2].size))
        for (_, kept), group in found:
            rows = max(1, min(_MOST_ROWS, _NUMBERS // (kept * vocabulary)))
            several = list(group)
            for first in range(0, len(several), rows):
                at, ids, targets = zip(*several[first : first + rows], strict=True)
                yield Batch(np.stack(ids), np.stack(targets), np.stack(at))

    def _windows(self, window: int, stride: int) -> Iterator[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]:
        offset = 0
        for tokens in self.documents:
            done = 0
            while done < len(tokens) - 1:
                end = min(len(tokens) - 1, done + (stride if done else window))
                at = np.arange(done, end)
                yield offset + at, tokens[max(0, end - window) : end], tokens[done + 1 : end + 1]
                done = end
            offset += len(tokens) - 1


def read(files: Sequence[Path]) -> list[str]:
    """The documents of text files: each file is one, and each line of a .jsonl file, by its "text".

    One that is there again counts once: it tells nothing new, and would only seem to make one surer.
    Raises `BadInputError` for what is no text, naming file and line.
    """
    found = list(dict.fromkeys(text for file in files for text in _documents(file) if text))
    if not found:
        raise BadInputError("There is no text to score.", "give --text a file with some.")
    return found


def encode(texts: Sequence[str], tokenizer: Any, most: int | None = None) -> Text:
    """The tokens of documents, as `tokenizer` (of transformers) splits them, the first `most` of them.

    Where it puts a token before every text, that is read and the first of the text is scored; else it is not.
    """
    start = start_of(tokenizer)
    documents, byte, left = list[np.ndarray[Any, Any]](), 0, most
    for text in texts:
        if left == 0:
            break
        ids = ids_of(text, tokenizer)[:left]
        left = None if left is None else left - len(ids)
        if len(ids) + len(start) < 2:
            continue
        whole = left is None or left > 0
        scored = ids if start else ids[1:]
        byte += len(text.encode()) if whole and start else len(tokenizer.decode(scored).encode())
        documents.append(np.array([*start, *ids], np.int64))
    if not documents:
        raise BadInputError("There is no text to score: no document has two tokens.", "give --text a longer file.")
    return Text(tuple(documents), byte)


def ids_of(text: str, tokenizer: Any) -> list[int]:
    """The tokens of a text, without any that mark its beginning or end."""
    found: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return found


def start_of(tokenizer: Any) -> list[int]:
    """What the tokenizer itself puts before a text: the token of its beginning, or nothing."""
    ids = tokenizer("a", verbose=False)["input_ids"]
    mark = tokenizer.bos_token_id
    return [mark] if mark is not None and len(ids) > 1 and ids[0] == mark else []


def _documents(file: Path) -> Iterator[str]:
    body = body_of(file)
    if file.suffix != ".jsonl":
        yield body
        return
    for number, line in lines_of(body):
        said = parsed(line, file, number)
        if not isinstance(said.get("text"), str):
            raise BadInputError(f'Line {number} of {file} has no "text".', 'give lines such as {"text": "…"}.')
        yield said["text"]


def body_of(file: Path) -> str:
    """The text of a file; raises `BadInputError` if it is missing or no UTF-8."""
    if not file.is_file():
        raise BadInputError(f"There is no file {file}.", "give the name of a text file.")
    with explained(file, "the text"):
        body = file.read_bytes()
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInputError(f"{file} is not UTF-8: {error.reason} at byte {error.start}.", "convert it.") from error


def lines_of(body: str) -> Iterator[tuple[int, str]]:
    """Lines that say something, with their numbers from one."""
    yield from ((number, line) for number, line in enumerate(body.split("\n"), 1) if line.strip())


def parsed(line: str, file: Path, number: int) -> dict[str, Any]:
    """The JSON object of a line; raises `BadInputError` naming it."""
    try:
        said = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"Line {number} of {file} is not JSON: {error}.", "correct it.") from error
    if not isinstance(said, dict):
        raise BadInputError(f"Line {number} of {file} does not hold one object.", "correct it.")
    return said
