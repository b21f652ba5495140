"""Which tokens stay, in what numbers, and the files of the tokenizer that say so.

Byte-pair encoding joins, of all neighbours in a word, those first whose merge comes first. What it joined on the way to
a token of the text lies within that token, and is what it joins when the token stands alone; so if all of that stays,
with the merges between tokens that stay, the text is joined as before.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.engine.cutting.joining import Joining
from pennyweight.engine.cutting.renumbering import numbers_around, numbers_in, renumbered, renumbered_tokenizer
from pennyweight.errors import BadInputError, MissingExtraError, NoEffectError
from pennyweight.store.disk import explained

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from pennyweight.store.checkpoints import Checkpoint

_TOKENIZER, _SAID, _GENERATION = "tokenizer.json", "tokenizer_config.json", "generation_config.json"
GONE = ("vocab.json", "merges.txt", "tokenizer.model", "added_tokens.json", "tekken.json")  # tokenizer.json says it all
_WINDOW, _OVERLAP = 1 << 20, 1 << 12  # characters of a text that are split at a time, and twice
_EVEN = 64  # rows of tables are a multiple of it
_AGAIN = "download it again."


@final
@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """The old numbers of tokens that stay (`kept`, in the order of the new), and the bodies of `files` that change."""

    kept: NDArray[np.int64]
    before: int
    files: Mapping[str, bytes]
    _places: dict[int, int] = field(default_factory=dict, repr=False)

    def written(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """A config with the new numbers."""
        return {**renumbered(config, self._places), "vocab_size": len(self.kept)}


def words_of(source: Checkpoint, text: Path, rows: int) -> Words:
    """Keep the tokens that `text` is made of, of a model that knows `rows`, with special ones and single bytes.

    Raises `BadInputError` for what is no byte-pair tokenizer, or none of this model, `NoEffectError` if all are needed.
    """
    bodies = {name: _object(source, name) for name in (_TOKENIZER, _SAID, _GENERATION)}
    said = bodies[_TOKENIZER]
    if said is None:
        raise BadInputError(f"{source.folder} has no {_TOKENIZER}.", "download it with the model.")
    joining = Joining.of(said)
    if joining.most >= rows:
        raise BadInputError(
            f"The tokenizer knows the token {joining.most}, but the model only {rows} tokens.",
            f"download {_TOKENIZER} and weights of one version of the model.",
        )
    pieces = list(_pieces(text))
    encoder = _encoder(json.dumps(said))
    found = [np.array(encoder.encode(piece, add_special_tokens=False).ids, np.int64) for piece in pieces]
    named = numbers_around(said) | numbers_in(source.config) | numbers_in(bodies[_GENERATION] or {})
    kept = _evened(joining, joining.closed({*np.unique(np.concatenate(found)).tolist(), *(named & joining.known)}))
    if len(kept) >= rows:
        raise NoEffectError(f"The text needs all of the {rows} tokens.", "give --vocab a text with fewer words.")
    places = {old: new for new, old in enumerate(kept)}
    files = {_TOKENIZER: _dumped(renumbered_tokenizer(said, places))}
    for name in (_SAID, _GENERATION):
        body = bodies[name]
        if body is not None:
            files[name] = _dumped(renumbered(body, places))
    made = Words(np.array(kept, np.int64), rows, files, places)
    _check(made, _encoder(files[_TOKENIZER].decode()), (pieces, found, joining))
    return made


def _evened(joining: Joining, kept: set[int]) -> list[int]:
    """So many more, beginning with those learnt first, that rows are a multiple of what kernels like."""
    wanted = -(-len(kept) // _EVEN) * _EVEN
    for number in sorted(joining.known):
        if len(kept) >= wanted:
            break
        if number not in kept and joining.parts(number) <= {*kept, number}:
            kept.add(number)
    return sorted(kept)


def _pieces(text: Path) -> Iterator[str]:
    """A text, a part at a time, so that each of its words stands whole in one of them."""
    with explained(text, "the text"):
        body = text.read_bytes()
    try:
        whole = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInputError(f"{text} is no UTF-8 text.", "give a file of plain text.") from error
    if not whole.strip():
        raise BadInputError(f"{text} is empty.", "give --vocab a text such as the model will see.")
    for at in range(0, len(whole), _WINDOW):
        yield whole[max(0, at - _OVERLAP) : at + _WINDOW + _OVERLAP]


def _encoder(body: str) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingExtraError.of("tokenizers", "llm") from error
    try:
        made = Tokenizer.from_str(body)
    except Exception as error:
        raise BadInputError(f"{_TOKENIZER} is no tokenizer: {error}.", _AGAIN) from error
    made.no_truncation()
    made.no_padding()
    return made


def _check(made: Words, encoder: Any, told: tuple[list[str], list[NDArray[np.int64]], Joining]) -> None:
    """Refuse a tokenizer whose tokens do not get the numbers they were given, or that splits the text otherwise."""
    pieces, found, joining = told
    moved = any(encoder.token_to_id(joining.tokens[old]) != new for new, old in enumerate(made.kept.tolist()))
    if moved or not all(_is_same(made, encoder, each, ids) for each, ids in zip(pieces, found, strict=True)):
        raise BadInputError(
            "Without the other tokens this tokenizer would split the text otherwise.", "leave --vocab out."
        )


def _is_same(made: Words, encoder: Any, piece: str, ids: NDArray[np.int64]) -> bool:
    again = np.array(encoder.encode(piece, add_special_tokens=False).ids, np.int64)
    return np.array_equal(made.kept[again], ids)


def _object(source: Checkpoint, name: str) -> dict[str, Any] | None:
    path = next((each for each in source.beside if each.name == name), None)
    if path is None:
        return None
    with explained(path, "the tokenizer"):
        body = path.read_bytes()
    try:
        said = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"{path} is not JSON: {error}.", _AGAIN) from error
    if not isinstance(said, dict):
        raise BadInputError(f"{path} does not hold one object.", _AGAIN)
    return said


def _dumped(said: Mapping[str, Any]) -> bytes:
    return (json.dumps(said, indent=2, ensure_ascii=False) + "\n").encode()
