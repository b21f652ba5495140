"""The few sizes of a model that serving depends on: from its dimensions, or guessed from its number of parameters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from pennyweight.cost.nearest_model import known_model, nearest_model
from pennyweight.cost.transformer import active_parameters, expert_parameters, kv_byte_token, parameters
from pennyweight.errors import BadInputError, UnknownNameError

if TYPE_CHECKING:
    from pennyweight.core.dims import Dims

_STATE_BYTE = 4
_CLOSE = 0.15  # by how much two counts of the parameters of one model may differ
_AS_SPARSE = 0.4  # by how much those used per token may, of a model that another stands in for


@dataclass(frozen=True, slots=True)
class Shape:
    """Parameters in all, `active` per token and those in routed `experts`, of which a token is sent to a share `sent`.

    A token keeps `kv_number` numbers (of a model whose `dims` are known, the mean over a context: `kept_number`), a
    sequence `state_byte` bytes of recurrences. `latent`: attention is. `guessed`: from the number of parameters alone.
    """

    layers: float
    parameters: float
    active: float
    experts: float
    sent: float
    kv_number: float
    state_byte: float
    latent: bool
    guessed: bool
    dims: Dims | None = None

    def kept_number(self, context: float) -> float:
        """Numbers that a step reads of a sequence of `context` tokens: keys and values of all layers."""
        each = self.kv_number if self.dims is None else float(kv_byte_token(self.dims, 1, context))
        return each * context


def shape_of(dims: Dims) -> Shape:
    """The sizes of a model whose dimensions are known."""
    all_of, active = float(parameters(dims)), float(active_parameters(dims))
    sent = dims.experts_per_token / dims.experts if dims.experts else 0.0
    return Shape(
        layers=float(dims.layers),
        parameters=all_of,
        active=active,
        experts=(all_of - active) / (1 - sent) if 0 < sent < 1 else float(expert_parameters(dims)) * (sent == 1),
        sent=sent,
        kv_number=float(kv_byte_token(dims, 1)),
        state_byte=float(dims.linear_layers * dims.linear_state * _STATE_BYTE),
        latent=dims.kv_rank > 0,
        guessed=False,
        dims=dims,
    )


def shape_like(all_of: float, active: float, *, recurrent: bool = False) -> Shape:
    """The usual sizes of a model of `all_of` parameters, `active` per token: layers grow with their 0.36th power.

    Experts: 128, of which a token is sent to eight. Guessed from published models of 8 to 671 billion parameters.
    """
    if not 0 < active <= all_of:
        raise BadInputError(
            f"A model of {all_of:g} parameters cannot have {active:g} active ones.", "give both, active not above all."
        )
    sparse = active < 0.9 * all_of
    layers = 60.0 if sparse else 16.5 * (all_of / 1e9) ** 0.36
    hidden = 128 * layers
    sent = 8 / 128 if sparse else 0.0
    attending = layers * (0.1 if recurrent else 1.0)
    return Shape(
        layers=layers,
        parameters=all_of,
        active=active,
        experts=(all_of - active) / (1 - sent) if sparse else 0.0,
        sent=sent,
        kv_number=attending * (1024 if sparse else 2048),
        state_byte=layers * hidden * 128 * _STATE_BYTE if recurrent else 0.0,
        latent=False,
        guessed=True,
    )


@lru_cache(maxsize=1024)
def shape_called(name: str, all_of: float, active: float, *, recurrent: bool = False) -> Shape:
    """The shape of the model called `name` with the counts given: of the catalog, or of a relative as large in there.

    Where the catalog has none that is as large, sizes are the usual ones. All but the catalog's own are `guessed`.
    """
    try:
        near = nearest_model(name)
    except UnknownNameError:
        return shape_like(all_of, active, recurrent=recurrent)
    found = shape_of(near.dims)
    close = abs(found.parameters / all_of - 1) < _CLOSE and (
        near.exactly or abs(found.active / active - 1) < _AS_SPARSE
    )
    if not close:
        return shape_like(all_of, active, recurrent=recurrent)
    experts = (all_of - active) / (1 - found.sent) if 0 < found.sent < 1 else 0.0
    return replace(
        found, parameters=all_of, active=active, experts=max(experts, 0.0), guessed=known_model(near.dims.name) is None
    )
