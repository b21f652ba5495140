"""Numbers of tokens wherever files of a checkpoint name them, replaced by the new ones."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

from pennyweight.engine.cutting.joining import pair_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_ONE = ("token_id", "token_ids")
_LISTS = ("suppress_tokens", "begin_suppress_tokens")
_DECODER = "added_tokens_decoder"


def numbers_in(said: Mapping[str, Any]) -> set[int]:
    """The tokens that a config gives roles to."""
    found: set[int] = set()
    for key, value in said.items():
        if str(key).endswith(_ONE):
            found |= {each for each in (value if isinstance(value, list) else [value]) if type(each) is int}
    return found


def numbers_around(said: Mapping[str, Any]) -> set[int]:
    """The tokens that a tokenizer.json itself puts around texts, or fills them up with."""
    found = set[int]()
    padding, processor = said.get("padding"), said.get("post_processor")
    if isinstance(padding, dict):
        found.add(padding.get("pad_id", 0))
    for each in [processor, *(processor.get("processors") or ())] if isinstance(processor, dict) else ():
        found |= {each[key][1] for key in ("sep", "cls") if isinstance(each.get(key), list)}
        for special in (each.get("special_tokens") or {}).values():
            found |= set(special["ids"])
    return found


def renumbered(said: Mapping[str, Any], places: Mapping[int, int]) -> dict[str, Any]:
    """A config with the new numbers; what it suppresses is left out where it is gone."""
    made = dict(said)
    for key, value in said.items():
        if str(key).endswith(_ONE):
            made[key] = _moved(value, places)
        elif key in _LISTS and isinstance(value, list):
            made[key] = [places[each] for each in value if each in places]
        elif key == _DECODER and isinstance(value, dict):
            made[key] = {str(places[int(each)]): told for each, told in value.items() if int(each) in places}
    return made


def renumbered_tokenizer(said: Mapping[str, Any], places: Mapping[int, int]) -> dict[str, Any]:
    """A tokenizer.json of the tokens in `places`, in their new numbers, with the merges between them."""
    model = dict(said["model"])
    vocabulary = {token: places[number] for token, number in model["vocab"].items() if number in places}
    model["vocab"] = dict(sorted(vocabulary.items(), key=itemgetter(1)))
    model["merges"] = [each for each in model["merges"] if _is_whole(pair_of(each), vocabulary)]
    made = {**said, "model": model}
    made["added_tokens"] = [{**each, "id": places[each["id"]]} for each in said.get("added_tokens") or ()]
    if isinstance(said.get("post_processor"), dict):
        made["post_processor"] = _processor(said["post_processor"], places)
    if isinstance(said.get("padding"), dict):
        made["padding"] = {**said["padding"], "pad_id": _moved(said["padding"].get("pad_id"), places)}
    return made


def _processor(said: Mapping[str, Any], places: Mapping[int, int]) -> dict[str, Any]:
    made = dict(said)
    for key in ("sep", "cls"):
        if isinstance(said.get(key), list):
            made[key] = [said[key][0], _moved(said[key][1], places)]
    if isinstance(said.get("special_tokens"), dict):
        made["special_tokens"] = {
            name: {**each, "ids": _moved(each["ids"], places)} for name, each in said["special_tokens"].items()
        }
    if isinstance(said.get("processors"), list):
        made["processors"] = [_processor(each, places) for each in said["processors"]]
    return made


def _moved(value: Any, places: Mapping[int, int]) -> Any:
    if isinstance(value, list):
        return [places[each] for each in value if each in places]
    return places.get(value) if type(value) is int else value


def _is_whole(pair: tuple[str, str], vocabulary: Collection[str]) -> bool:
    return all(each in vocabulary for each in (*pair, "".join(pair)))
