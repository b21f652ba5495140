"""A byte-pair tokenizer as tokenizer.json has it: its tokens, its merges, and what is joined on the way to a token."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, final

from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_BYTES = frozenset(f"<0x{number:02X}>" for number in range(256))
_AGAIN = "download tokenizer.json again."
_STEPS = ("continuing_subword_prefix", "end_of_word_suffix", "dropout")


@final
@dataclass(frozen=True, slots=True, eq=False)
class Joining:
    """`tokens` by number, their `numbers`, the rank of each merge, and numbers that stay whatever the text is."""

    tokens: Mapping[int, str]
    numbers: Mapping[str, int]
    ranks: Mapping[tuple[str, str], int]
    always: frozenset[int]
    _known: dict[int, frozenset[int]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Joining:
        """What a tokenizer.json says; raises `BadInputError` for another kind of tokenizer."""
        model = said.get("model")
        kind = model.get("type") if isinstance(model, dict) else None
        if not isinstance(model, dict) or kind != "BPE":
            raise BadInputError(
                f"The tokenizer is of the kind {kind!r}, and only of byte pairs (BPE) it is known what can go.",
                "leave --vocab out.",
            )
        other = next((key for key in _STEPS if model.get(key)), None)
        if other:
            raise BadInputError(f"The tokenizer has {other}, which is not known here.", "leave --vocab out.")
        try:
            vocabulary = {str(token): int(number) for token, number in model["vocab"].items()}
            ranks = {pair_of(each): rank for rank, each in enumerate(model["merges"])}
            added = {str(each["content"]): int(each["id"]) for each in said.get("added_tokens") or ()}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise BadInputError(f"tokenizer.json says nothing sensible of its tokens: {error}.", _AGAIN) from error
        numbers = {**vocabulary, **added}
        tokens = {number: token for token, number in numbers.items()}
        if len(tokens) != len(numbers) or not tokens:
            raise BadInputError("Two tokens of tokenizer.json have one number, or there are none.", _AGAIN)
        return cls(tokens, numbers, ranks, _always(model, vocabulary, added))

    @property
    def known(self) -> set[int]:
        """The numbers of all tokens."""
        return set(self.tokens)

    @property
    def most(self) -> int:
        """The largest number."""
        return max(self.tokens)

    def closed(self, wanted: Iterable[int]) -> set[int]:
        """Those, what they are joined from, and those that always stay."""
        start = {*self.always, *wanted}
        return start.union(*(self.parts(number) for number in start))

    def parts(self, number: int) -> frozenset[int]:
        """What there is on the way to a token that stands alone: its characters, and what they are joined to."""
        if number not in self._known:
            self._known[number] = frozenset(self._joined(self.tokens[number]))
        return self._known[number]

    def _joined(self, token: str) -> set[int]:
        parts, found = list(token), {self.numbers[each] for each in token if each in self.numbers}
        while len(parts) > 1:
            pairs = [(self.ranks.get(pair, -1), at) for at, pair in enumerate(pairwise(parts))]
            known = [pair for pair in pairs if pair[0] >= 0]
            if not known:
                break
            at = min(known)[1]
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
            found |= {self.numbers[parts[at]]} if parts[at] in self.numbers else set()
        return found


def pair_of(merge: Any) -> tuple[str, str]:
    """The two tokens that a merge joins, written "a b" or as a list."""
    first, second = merge.split(" ") if isinstance(merge, str) else merge
    return str(first), str(second)


def _always(model: Mapping[str, Any], vocabulary: Mapping[str, int], added: Mapping[str, int]) -> frozenset[int]:
    """Special tokens, bytes, the unknown one; and single characters, unless bytes stand in for these."""
    stay = set(added.values()) | {vocabulary[each] for each in _BYTES if each in vocabulary}
    if model.get("unk_token") in vocabulary:
        stay.add(vocabulary[model["unk_token"]])
    if not (model.get("byte_fallback") and vocabulary.keys() >= _BYTES):
        stay |= {number for token, number in vocabulary.items() if len(token) == 1}
    return frozenset(stay)
