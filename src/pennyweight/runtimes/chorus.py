"""Texts of different lengths continued together: each may join after any step, and leave after any other."""

from __future__ import annotations

import ctypes
import math
import weakref
from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import starmap
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.errors import BadInputError, MissingExtraError
from pennyweight.runtimes.base import installed
from pennyweight.runtimes.generation import ort_value
from pennyweight.runtimes.onnx_intake import admit
from pennyweight.runtimes.onnxruntime import open_graph

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pennyweight.core import Artifact, ServeSpec, Session

RAGGED_FILE = "ragged.onnx"
_PADDED, _FEW = 1.25, 8  # prompts that are so many times and so many tokens longer are still read together
_LOOSE = 4  # times what is needed, that memory may be
TOO_LONG = ("The model cannot go on with these texts.", "give tokens it knows, and texts no longer than its context.")

Next = tuple["NDArray[np.float32]", Any]
"""Logits (B, V) of what follows each of B texts, and the memory of all of them, which is never changed."""


class Chorus(ABC):
    """A language model that reads texts and continues them; `context` is the longest text that it can hold.

    `room` is how many tokens all texts together may hold, 0 for any number; `bites` says that reading a text in
    several parts takes about as long as reading it at once, `pads` that each text takes as much room as the longest.
    """

    context: int
    room: int = 0
    bites: bool = False
    pads: bool = False

    @abstractmethod
    def prefill(self, prompts: Sequence[NDArray[np.int64]]) -> Next:
        """Read some texts, each (T,) of a length of its own, at least 1 and at most `context`."""

    @abstractmethod
    def step(self, tokens: NDArray[np.int64], memory: Any) -> Next:
        """Read one more token (B,) of each text; none may become longer than `context`."""

    def read(self, tokens: NDArray[np.int64], memory: Any) -> Next:
        """Read some more tokens (B, T), T at least 1, of each text; none may become longer than `context`."""
        told = self.step(tokens[:, 0], memory)
        for column in tokens.T[1:]:
            told = self.step(column, told[1])
        return told

    @abstractmethod
    def gather(self, parts: Sequence[tuple[Any, Sequence[int]]]) -> Any:
        """One memory of the named texts of some memories, in this order."""


class Checking(Chorus):
    """One that says of several tokens at once what follows each, and forgets those that it should not have read."""

    @abstractmethod
    def told(self, tokens: Sequence[NDArray[np.int64]], memory: Any) -> Next:
        """Read some more tokens (T,) of each text, T at least 1 and of each its own; none may exceed `context`.

        The logits (sum of T, V) are those of what follows each token, text after text.
        """

    @abstractmethod
    def forget(self, memory: Any, counts: Sequence[int]) -> Any:
        """The memory without the last tokens, so many of each text, that `told` or `step` has read just before.

        The memory that is given is not to be used any more.
        """


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class _Held:
    """Keys and values (B, H, P, D) of every layer, of which the first `pads` (B,) belong to no text.

    The library only looks at `arrays`, so they must live as long as the `past` that was made of them.
    """

    past: list[Any]
    pads: NDArray[np.int64]
    long: int  # P
    arrays: tuple[NDArray[np.float32], ...] = ()


@final
class OnnxChorus(Chorus):
    """ONNX Runtime with keys and values kept; shorter texts are padded on the left, so that all grow at one end."""

    bites = True

    def __init__(self, body: bytes, context: int, threads: int = 1) -> None:
        self.context = context
        self._session = open_graph(body, threads)
        self._run = self._session._sess.run_with_ort_values  # ruff: ignore[private-member-access] - its Python wrapper costs 20 µs per call
        inputs = self._session.get_inputs()
        self._names = [each.name for each in inputs[2:]]
        self._shapes = [(int(each.shape[1]), int(each.shape[3])) for each in inputs[2:]]
        self._outputs = [each.name for each in self._session.get_outputs()]
        self._spare: list[NDArray[np.float32]] = []

    def prefill(self, prompts: Sequence[NDArray[np.int64]]) -> Next:
        """As promised; those of about one length are read together, for padding costs as much as text."""
        groups = alike(prompts)
        if len(groups) == 1:
            return self._read_all(prompts)
        found = [(group, *self._read_all([prompts[row] for row in group])) for group in groups]
        at = {row: (group, held) for group, _, held in found for row in group}
        logits = np.empty((len(prompts), found[0][1].shape[1]), np.float32)
        for group, told, _ in found:
            logits[group] = told
        return logits, self.gather([(at[row][1], [at[row][0].index(row)]) for row in range(len(prompts))])

    def step(self, tokens: NDArray[np.int64], memory: _Held) -> Next:
        """As promised."""
        return self._read(tokens[:, None], memory)

    def read(self, tokens: NDArray[np.int64], memory: _Held) -> Next:
        """As promised."""
        return self._read(tokens, memory)

    def gather(self, parts: Sequence[tuple[_Held, Sequence[int]]]) -> _Held:
        """As promised; what only pads is cut away."""
        chosen = [(held, np.asarray(rows, np.intp)) for held, rows in parts if len(rows)]
        real = [held.long - held.pads[rows] for held, rows in chosen]
        long = int(max(each.max() for each in real))
        count = sum(map(len, real))
        made, rooms = [], [self._room(count * heads * long * size) for heads, size in self._shapes]
        for number, (heads, size) in enumerate(self._shapes):
            array = rooms[number][: count * heads * long * size].reshape(count, heads, long, size)
            at = 0
            for held, rows in chosen:
                past, width = _seen(held.past[number], (heads, held.long, size)), min(long, held.long)
                for row in rows:
                    array[at, :, : long - width] = 0.0
                    array[at, :, long - width :] = past[row, :, held.long - width :]
                    at += 1
            made.append(array)
        held = _Held([ort_value(each) for each in made], long - np.concatenate(real), long, tuple(made))
        weakref.finalize(held, self._spare.extend, rooms).atexit = False
        return held

    def _room(self, size: int) -> NDArray[np.float32]:
        """Memory for so many numbers: of what nobody holds any more, for new pages cost more than the copy does."""
        fits = [at for at, each in enumerate(self._spare) if size <= len(each) <= _LOOSE * size]
        found = self._spare.pop(fits[0]) if fits else np.empty(size + size // 4, np.float32)
        del self._spare[: -2 * len(self._shapes)]
        return found

    def _read_all(self, prompts: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.float32], _Held]:
        """Read prompts at once, the shorter ones padded."""
        longest = max(map(len, prompts))
        tokens = np.zeros((len(prompts), longest), np.int64)
        for row, prompt in zip(tokens, prompts, strict=True):
            row[longest - len(prompt) :] = prompt
        pads = np.array([longest - len(prompt) for prompt in prompts], np.int64)
        empty = tuple(np.empty((len(prompts), heads, 0, size), np.float32) for heads, size in self._shapes)
        return self._read(tokens, _Held([ort_value(each) for each in empty], pads, 0, empty))

    def _read(self, tokens: NDArray[np.int64], held: _Held) -> tuple[NDArray[np.float32], _Held]:
        fresh, pads = np.ascontiguousarray(tokens), np.ascontiguousarray(held.pads)
        feed = {"x": ort_value(fresh), "pads": ort_value(pads), **dict(zip(self._names, held.past, strict=True))}
        try:
            logits, *grown = self._run(feed, self._outputs, None)
        except Exception as error:  # the library has no common error of its own
            raise BadInputError(*TOO_LONG) from error
        answer: NDArray[np.float32] = logits.numpy()[:, -1]
        return answer, _Held(grown, held.pads, held.long + tokens.shape[1])


@final
class Rereading(Chorus):
    """Any session that answers whole windows (B, `context`): every text is read again for every token of it."""

    def __init__(self, session: Session, context: int) -> None:
        self._session, self.context = session, context

    def prefill(self, prompts: Sequence[NDArray[np.int64]]) -> Next:
        """As promised."""
        if max(map(len, prompts)) > self.context:
            raise BadInputError(*TOO_LONG)
        tokens = np.zeros((len(prompts), self.context), np.int64)
        for row, prompt in zip(tokens, prompts, strict=True):
            row[: len(prompt)] = prompt
        last = [len(prompt) - 1 for prompt in prompts]
        logits = np.asarray(self._session.predict(tokens))[np.arange(len(prompts)), last]
        return logits.astype(np.float32, copy=False), tuple(prompts)

    def step(self, tokens: NDArray[np.int64], memory: Sequence[NDArray[np.int64]]) -> Next:
        """As promised."""
        return self.prefill(list(starmap(np.append, zip(memory, tokens, strict=True))))

    def gather(self, parts: Sequence[tuple[Any, Sequence[int]]]) -> Any:
        """As promised."""
        return tuple(memory[row] for memory, rows in parts for row in rows)


def open_chorus(artifact: Artifact, serve: ServeSpec, session: Session) -> Chorus:
    """The cheapest way to continue texts with an artifact: with what it keeps of them, or by its `session` again.

    Raises `CorruptError` if its graph is none, `MissingExtraError` if ONNX Runtime is not there to execute it.
    """
    context = int(artifact.facts["input_shape"][0])
    if RAGGED_FILE not in dict(artifact.files):
        return Rereading(session, context)
    if not installed("onnxruntime"):
        raise MissingExtraError.of("onnxruntime", "onnx")
    return OnnxChorus(admit(artifact, RAGGED_FILE, inputs=None), context, serve.threads)


def alike(prompts: Sequence[NDArray[np.int64]]) -> list[list[int]]:
    """The places of prompts, those together of which the longest is at most a little longer than the shortest."""
    found: list[list[int]] = []
    for row in sorted(range(len(prompts)), key=lambda row: len(prompts[row])):
        if found and len(prompts[row]) <= _PADDED * len(prompts[found[-1][0]]) + _FEW:
            found[-1].append(row)
        else:
            found.append([row])
    return found


def _seen(value: Any, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The numbers (B, *shape) of a value of the library, where they are: its own way copies all of them."""
    count = value.shape()[0]
    size = count * math.prod(shape)
    if not size:
        return np.empty((count, *shape), np.float32)
    flat = np.ctypeslib.as_array((ctypes.c_float * size).from_address(value.data_ptr()))
    return flat.reshape(count, *shape)
