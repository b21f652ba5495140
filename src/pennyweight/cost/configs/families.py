"""Every family of models, by the `model_type` of its config.json."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pennyweight.cost.configs import encoders, gpt, hybrids, latent, llama, mixtures

if TYPE_CHECKING:
    from pennyweight.cost.configs.keys import Family

FAMILIES: dict[str, Family] = {
    **llama.FAMILIES,
    **mixtures.FAMILIES,
    **latent.FAMILIES,
    **hybrids.FAMILIES,
    **gpt.FAMILIES,
    **encoders.FAMILIES,
}
