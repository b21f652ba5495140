"""One block of a language model at a time, as transformers computes it: its own layer classes, weights given by hand.

Nothing of a checkpoint's folder is executed: the classes are those of the installed library, chosen by name from a
fixed list, and of the config only plain values are used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, final

from pennyweight.errors import BadInputError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

DECODERS = {"llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen2", "qwen3": "Qwen3"}
_NOT_OURS = ("model_type", "auto_map", "quantization_config", "attn_implementation", "trust_remote_code")

SHARED_INPUTS = (
    ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    ("self_attn.o_proj",),
    ("mlp.gate_proj", "mlp.up_proj"),
    ("mlp.down_proj",),
)  # linear layers of a block in the order they are computed; those that read the same stand together
BEFORE = ("input_layernorm", "self_attn.v_proj", "post_attention_layernorm", "mlp.up_proj")  # where these come from


def check_decoder(config: Mapping[str, Any]) -> None:
    """Raise `BadInputError` for an architecture whose blocks cannot be computed one by one here."""
    kind = str(config.get("model_type"))
    if kind not in DECODERS:
        raise BadInputError(
            f"Blocks of the architecture {kind!r} cannot be computed one by one here.",
            f"use --method rtn or hqq without --calibrate, or a model of {', '.join(sorted(DECODERS))}.",
        )


def load_libraries(kind: str | None = None) -> None:
    """Import what computing needs, for blocks of `kind` too, so that their memory is held before it is looked at."""
    try:
        import_module("torch")
    except ImportError as error:
        raise MissingExtraError.of("torch", "torch") from error
    if kind is not None:
        try:
            import_module("transformers.models.auto.configuration_auto")
            import_module(f"transformers.models.{kind}.modeling_{kind}")
        except ImportError as error:
            raise MissingExtraError.of("transformers", "llm") from error


@final
class Decoder:
    """Blocks of the model that a config.json describes; states are (tokens, hidden) of one text, float32."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        check_decoder(config)
        kind = str(config["model_type"])
        load_libraries(kind)
        code = import_module(f"transformers.models.{kind}.modeling_{kind}")
        self._config = _configured(kind, config)
        self._layer = getattr(code, f"{DECODERS[kind]}DecoderLayer")
        self._rotary = getattr(code, f"{DECODERS[kind]}RotaryEmbedding")(config=self._config)
        self._seen: dict[tuple[int, int | None], tuple[Any, Any, Any]] = {}

    @property
    def hidden(self) -> int:
        """How wide states are."""
        return int(self._config.hidden_size)

    def block(self, number: int, weights: Mapping[str, Tensor]) -> Any:
        """Block `number` with these float32 `weights`, which it holds without a copy, by their names within it."""
        import torch

        with torch.device("meta"):
            made = self._layer(self._config, number).eval()
        wanted = {name: tuple(each.shape) for name, each in made.state_dict().items()}
        given = {name: tuple(each.shape) for name, each in weights.items()}
        if wanted != given:
            other = min(name for name in {*wanted, *given} if wanted.get(name) != given.get(name))
            raise BadInputError(
                f"Block {number} is not as config.json says: {other!r} is {given.get(other, 'missing')}, "
                f"not {wanted.get(other, 'there')}.",
                "download config.json and weights of one version of the model.",
            )
        made.load_state_dict(dict(weights), assign=True)
        return made.requires_grad_(requires_grad=False)

    def run(self, block: Any, number: int, states: Tensor) -> Tensor:
        """What `block` makes of `states`."""
        mask, around, places = self._around(len(states), self._window(number), states)
        found = block(
            states[None], attention_mask=mask, position_embeddings=around, position_ids=places, use_cache=False
        )
        return (found[0] if isinstance(found, tuple) else found)[0]

    def _window(self, number: int) -> int | None:
        kinds = getattr(self._config, "layer_types", None)
        window = getattr(self._config, "sliding_window", None)
        return window if kinds is None or kinds[number] == "sliding_attention" else None

    def _around(self, length: int, window: int | None, states: Tensor) -> tuple[Any, Any, Any]:
        """What each token may look at, and its place, made once for each length."""
        import torch

        key = (length, window)
        if key not in self._seen:
            places = torch.arange(length)
            back = places[:, None] - places[None, :]
            mask = (back >= 0) if window is None else (back >= 0) & (back < window)
            self._seen[key] = mask[None, None], self._rotary(states[None], places[None]), places[None]
        return self._seen[key]


def _configured(kind: str, config: Mapping[str, Any]) -> Any:
    from huggingface_hub.errors import StrictDataclassError

    known = {str(name): value for name, value in config.items() if name not in _NOT_OURS and not name.startswith("_")}
    try:
        made = import_module("transformers.models.auto.configuration_auto").AutoConfig.for_model(kind, **known)
    except (AttributeError, KeyError, StrictDataclassError, TypeError, ValueError) as error:
        raise BadInputError(f"config.json says what no {kind} is: {error}", "download it again.") from error
    made._attn_implementation = "sdpa"  # ruff: ignore[private-member-access] - the only way to name it without a model
    return made
