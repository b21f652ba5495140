"""Machines for rent: which accelerator really is in them, where a cloud's own names do not say, and their network."""

from __future__ import annotations

import re
from functools import cache

from pennyweight.catalog.accelerators import accelerator
from pennyweight.catalog.reading import table_of

# Names that sellers use for one thing only, where ours would mean another.
_NAMES = {
    "a100": "a100-40gb",
    "gaudi hl-225": "gaudi2",
    "h100-mega": "h100",
    "h100-nvlink": "h100",
    "rtxpro6000s": "rtx-pro-6000",
    "rtx pro 6000 server": "rtx-pro-6000",
    "rtx pro 6000": "rtx-pro-6000",
    "v100": "v100-16gb",
    "rtx6000": "quadro-rtx-6000",
}
# The same name sold with another board, by cloud and instance.
_BOARDS = (
    ("aws", r"p4de\.", "a100", "a100-80gb"),
    ("aws", r"p3dn\.", "v100", "v100-32gb"),
    ("azure", r"Standard_NC\d+s?_?.*A100", "a100-80gb", "a100-80gb-pcie"),
    ("azure", r"Standard_NC\d+r?s_v3", "v100", "v100-pcie"),
    ("azure", r"Standard_NC\d+adi?s_H100", "h100", "h100-nvl"),
    ("azure", r"Standard_ND40r?s_v2", "v100", "v100-32gb"),
    ("lambda", r".*_pcie", "h100", "h100-pcie"),
    ("runpod", r".*", "a100-80gb", "a100-80gb-pcie"),
    ("runpod", r".*", "h100", "h100-pcie"),
)


def named(cloud: str, instance: str, name: str) -> str:
    """Our name of the accelerator that `cloud` calls `name` in its `instance`.

    `A100` and `V100` without a size are the smaller ones, as every price list means them. Raises `UnknownNameError`.
    """
    said = name.strip().lower()
    for seller, pattern, called, ours in _BOARDS:
        if cloud == seller and said == called and re.match(pattern, instance):
            return ours
    return accelerator(_NAMES.get(said, said)).name


@cache
def network_byte_s(cloud: str, instance: str) -> float | None:
    """Network of the whole machine, byte per second in one direction; None where the catalog does not know."""
    for row in table_of("networks.csv"):
        if row["cloud"] == cloud and re.fullmatch(row["match"], instance):
            return float(row["network_byte_s"])
    return None
