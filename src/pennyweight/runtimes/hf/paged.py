"""Texts continued together on pages: keys and values lie in blocks, so nobody's are moved when others come and go.

Attention over pages is that of Kwon et al. 2023 (arXiv 2309.06180), executed by OpenVINO on the CPU.
"""

from __future__ import annotations

import json
import weakref
from collections import deque
from dataclasses import dataclass, field
from itertools import starmap
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.errors import BadInputError, CorruptError
from pennyweight.runtimes.chorus import TOO_LONG, Checking
from pennyweight.runtimes.hf.llama_graph import Decoder, build
from pennyweight.runtimes.hf.mapped import Mapped

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pennyweight.core import ServeSpec
    from pennyweight.runtimes.chorus import Next

BLOCK = 32  # tokens of a block, as the library has it on CPUs
_SPARE = 128  # blocks beside what texts may hold: for those not full, and for who joins while who left is still held
_HINT = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}
_GROUP = 32  # numbers of an activation that share a scale, where they are rounded


@final
@dataclass(slots=True, eq=False, weakref_slot=True)
class _Text:
    """The blocks of one text, and how many of its tokens are in them; they are left behind when nobody has it."""

    blocks: list[int] = field(default_factory=list)
    filled: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """Some texts, each up to a length: what was read of it later by another is not seen here."""

    texts: tuple[_Text, ...]
    longs: tuple[int, ...]


@final
class Blocks:
    """Which blocks are free, and by how many texts each of the others is used."""

    def __init__(self, count: int) -> None:
        self._free = list(range(count - 1, -1, -1))
        self._users = np.zeros(count, np.int32)
        self._left: deque[list[int]] = deque()

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._users)

    @property
    def free(self) -> int:
        """How many nobody uses."""
        self._sweep()
        return len(self._free)

    def text(self, shared: Sequence[int] = ()) -> _Text:
        """A new text that begins with blocks of others."""
        self._sweep()
        made = _Text(list(shared), len(shared) * BLOCK)
        for block in shared:
            self._users[block] += 1
        weakref.finalize(made, self._left.append, made.blocks).atexit = False
        return made

    def add(self, text: _Text) -> int:
        """One more block for a text; raises `BadInputError` if there is none."""
        self._sweep()
        if not self._free:
            raise BadInputError("There is no memory left to remember texts in.", "ask for fewer texts at once.")
        block = self._free.pop()
        self._users[block] = 1
        text.blocks.append(block)
        return block

    def _sweep(self) -> None:
        """Take back the blocks of texts that nobody has: here, for the last to hold one may be in any thread."""
        while self._left:
            for block in self._left.popleft():
                self._users[block] -= 1
                if not self._users[block]:
                    self._free.append(block)


@final
class PagedChorus(Checking):
    """A decoder of Llama's shape, from the weights of its folder as they lie there, in OpenVINO.

    In "int8", what goes into weights of 4 or 8 bits is rounded to 8 bits as it comes, all else is in float32. `room` is
    how many tokens all texts together may hold. Raises `BadInputError` for what the library refuses.
    """

    bites = True

    def __init__(self, folder: Path, serve: ServeSpec, context: int, room: int) -> None:
        import openvino

        self.context, self.room = context, room
        self._tensors = Mapped(folder)  # the compiled graph may look at them as long as it lives
        decoder = Decoder.of(json.loads((folder / "config.json").read_bytes()))
        self._vocabulary = self._tensors.shape("model.embed_tokens.weight")[0]
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": serve.threads,
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": _HINT[serve.precision],
            "KV_CACHE_PRECISION": _HINT[serve.precision],
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": _GROUP if serve.precision == "int8" else 0,
        }
        try:
            compiled = openvino.Core().compile_model(build(decoder, self._tensors), "CPU", settings)
        except RuntimeError as error:
            raise BadInputError(
                f"OpenVINO cannot compile the model: {str(error).strip().splitlines()[-1]}",
                "register it with --runtime torch.",
            ) from error
        self._request: Any = compiled.create_infer_request()
        self._infer = _native(self._request)
        self._at = {each.get_any_name(): number for number, each in enumerate(compiled.inputs)}
        self._blocks = Blocks(-(-room // BLOCK) + _SPARE)
        self._caches = self._allocated(compiled)

    def prefill(self, prompts: Sequence[NDArray[np.int64]]) -> Next:
        """As promised; nothing is padded."""
        return self._read(prompts, _Held(tuple(self._blocks.text() for _ in prompts), (0,) * len(prompts)))

    def step(self, tokens: NDArray[np.int64], memory: _Held) -> Next:
        """As promised."""
        return self._read(list(tokens[:, None]), memory)

    def read(self, tokens: NDArray[np.int64], memory: _Held) -> Next:
        """As promised."""
        return self._read(list(tokens), memory)

    def told(self, tokens: Sequence[NDArray[np.int64]], memory: _Held) -> Next:
        """As promised; nothing is padded."""
        return self._read(tokens, memory, each=True)

    def forget(self, memory: _Held, counts: Sequence[int]) -> _Held:
        """As promised: what is read next is written over it."""
        longs = tuple(long - count for long, count in zip(memory.longs, counts, strict=True))
        for text, before, after in zip(memory.texts, memory.longs, longs, strict=True):
            if text.filled == before:
                text.filled = after
        return _Held(memory.texts, longs)

    def gather(self, parts: Sequence[tuple[_Held, Sequence[int]]]) -> _Held:
        """As promised; nothing is moved."""
        texts = tuple(held.texts[row] for held, rows in parts for row in rows)
        return _Held(texts, tuple(held.longs[row] for held, rows in parts for row in rows))

    def _allocated(self, compiled: Any) -> list[NDArray[Any]]:
        """Memory for all blocks of all layers, of which only what is used is ever touched; bound to the request."""
        import openvino

        found = []
        for number, each in enumerate(compiled.inputs):
            if "cache" not in each.get_any_name():
                continue
            shape = [self._blocks.count, *(axis.get_length() for axis in list(each.partial_shape)[1:])]
            if shape[2] != BLOCK:
                raise CorruptError(f"OpenVINO has blocks of {shape[2]} tokens.", "register it with --runtime torch.")
            tensor = openvino.Tensor(each.element_type, openvino.Shape(shape))
            self._request.set_input_tensor(number, tensor)
            found.append(tensor.data)
        return found

    def _read(self, tokens: Sequence[NDArray[np.int64]], held: _Held, *, each: bool = False) -> Next:
        """Read the next tokens of each text; what follows its last, or each of them."""
        counts = [len(each) for each in tokens]
        longs = tuple(long + count for long, count in zip(held.longs, counts, strict=True))
        ids = np.concatenate(tokens).astype(np.int64, copy=False)
        if max(longs) > self.context or ids.min() < 0 or ids.max() >= self._vocabulary:
            raise BadInputError(*TOO_LONG)
        texts = tuple(starmap(self._grown, zip(held.texts, held.longs, longs, strict=True)))
        fed = self._fed(ids, _Held(texts, longs), counts)
        fed["picked"] = np.arange(len(ids)) if each else np.cumsum(counts) - 1
        return self._asked(fed), _Held(texts, longs)

    def _fed(self, ids: NDArray[np.int64], now: _Held, counts: list[int]) -> dict[str, NDArray[Any]]:
        used = [text.blocks[: -(-long // BLOCK)] for text, long in zip(now.texts, now.longs, strict=True)]
        past = np.subtract(now.longs, counts)
        return {
            "input_ids": ids,
            "position_ids": np.concatenate(list(starmap(np.arange, zip(past, now.longs, strict=True)))),
            "past_lens": past.astype(np.int32),
            "subsequence_begins": np.cumsum([0, *counts]).astype(np.int32),
            "block_indices": np.concatenate(used).astype(np.int32),
            "block_indices_begins": np.cumsum([0, *map(len, used)]).astype(np.int32),
            "max_context_len": np.array(max(now.longs), np.int32),
        }

    def _asked(self, fed: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        import openvino

        for name, array in fed.items():
            self._request.set_input_tensor(self._at[name], openvino.Tensor(array, shared_memory=True))
        self._infer({}, True, False)
        answer: NDArray[np.float32] = self._request.get_output_tensor(0).data[:, 0].copy()
        return answer

    def _grown(self, text: _Text, before: int, after: int) -> _Text:
        """A text with blocks for more tokens: itself, or a copy if others have read on from here already."""
        if text.filled != before:
            text = self._forked(text, before)
        while len(text.blocks) * BLOCK < after:
            self._blocks.add(text)
        text.filled = after
        return text

    def _forked(self, text: _Text, before: int) -> _Text:
        """Another text with the same first tokens: full blocks are shared, what a last one holds is copied."""
        full, rest = divmod(before, BLOCK)
        made = self._blocks.text(text.blocks[:full])
        if rest:
            block = self._blocks.add(made)
            for cache in self._caches:
                cache[block] = cache[text.blocks[full]]
        return made


def _native(request: Any) -> Any:
    """The call below the library's own dispatch, which costs more than a small network does."""
    import openvino

    return super(openvino.InferRequest, request).infer
