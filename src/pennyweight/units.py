"""The one place that turns SI numbers into text for people, and people's text into SI numbers."""

from __future__ import annotations

import math
import re

from pennyweight.errors import BadInputError

_SI = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_SMALL = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))
_MINUTE_S, _HOUR_S, _DAY_S = 60.0, 3600.0, 86400.0
_CENT_USD = 0.01
_KILO = 1e3
_KWH_JOULE = 3.6e6
_MONEY = ((1e9, "B"), (1e6, "M"), (1e3, "k"))
_DURATION_S = {"ms": 1e-3, "s": 1.0, "min": _MINUTE_S, "m": _MINUTE_S, "h": _HOUR_S, "d": _DAY_S}
_BYTE = {"B": 1.0, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KIB": 2.0**10, "MIB": 2.0**20, "GIB": 2.0**30}


def si(value: float, unit: str, digits: int = 3) -> str:
    """Format `value` (in `unit`) with an SI prefix: ``si(1.5e9, "FLOP") == "1.5 GFLOP"``."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g} {unit}"
    for scale, prefix in (*_SI, *_SMALL):
        if abs(value) >= scale:
            return f"{value / scale:.{digits}g} {prefix}{unit}"
    return f"{value / 1e-9:.{digits}g} n{unit}"


def seconds(value_s: float) -> str:
    """Format a duration in seconds the way people say it: ``4.2 ms``, ``1 min 30 s``, ``2 d 3 h``."""
    if not math.isfinite(value_s) or abs(value_s) < _MINUTE_S:
        return si(value_s, "s")
    if value_s < _HOUR_S:
        return f"{int(value_s // _MINUTE_S)} min {value_s % _MINUTE_S:.0f} s"
    if value_s < _DAY_S:
        return f"{int(value_s // _HOUR_S)} h {value_s % _HOUR_S / _MINUTE_S:.0f} min"
    return f"{int(value_s // _DAY_S)} d {value_s % _DAY_S / _HOUR_S:.0f} h"


def usd(value_usd: float) -> str:
    """Format dollars: cents when there are some, significant digits when there are not."""
    if not math.isfinite(value_usd):
        return f"${value_usd:g}"
    sign = "-" if value_usd < 0 else ""
    size = abs(value_usd)
    if size == 0 or size >= 1:
        return f"{sign}${size:,.2f}"
    if size >= _CENT_USD:
        return f"{sign}${size:.4f}"
    return f"{sign}${size:.3g}"


def money(value_usd: float) -> str:
    """Format dollars in three digits, for sums that nobody counts in cents: ``$478``, ``$54.8k``, ``$1.48M``."""
    if not math.isfinite(value_usd) or abs(value_usd) < _KILO:
        return usd(value_usd)
    rounded = float(f"{value_usd:.3g}")
    scale, prefix = next((scale, prefix) for scale, prefix in _MONEY if abs(rounded) >= scale)
    digits = f"{abs(rounded) / scale:#.3g}".removesuffix(".")
    return f"{'-' * (rounded < 0)}${digits}{prefix}"


def energy(value_joule: float) -> str:
    """Format joules as electricity is sold: ``3.21 kWh``, ``479 MWh``."""
    return si(value_joule / _KWH_JOULE * _KILO, "Wh")


def mass(value_kg: float) -> str:
    """Format kilograms: ``820 g``, ``37.9 kg``, ``2,170 t``."""
    if not math.isfinite(value_kg) or abs(value_kg) < _KILO:
        return si(value_kg * _KILO, "g") if abs(value_kg) < 1 else f"{value_kg:.3g} kg"
    return f"{float(f'{value_kg / _KILO:.3g}'):,g} t"


def percent(share: float, digits: int = 2) -> str:
    """Format a share of one as a percentage: ``percent(0.985) == "98.50%"``."""
    return f"{100 * share:.{digits}f}%"


def parse_share(text: str) -> float:
    """Read ``"0.3%"`` or ``"0.003"`` as the share 0.003."""
    body = text.strip()
    value = _number(body.removesuffix("%"), text, "a share such as 0.3% or 0.003")
    return value / 100 if body.endswith("%") else value


def parse_count(text: str) -> float:
    """Read ``"1e8"`` or ``"100000"`` as a number of things."""
    return _number(text.strip(), text, "a number such as 1e8")


def parse_usd(text: str) -> float:
    """Read ``"0.02usd"``, ``"$5"`` or ``"5"`` as dollars."""
    body = text.strip().lower().removesuffix("usd").removeprefix("$").strip()
    return _number(body, text, "dollars such as 0.02usd")


def parse_seconds(text: str) -> float:
    """Read ``"10m"``, ``"90s"``, ``"2h"`` or ``"60d"`` as seconds; a bare number is seconds."""
    return _with_suffix(text, _DURATION_S, "a duration such as 90s, 10m, 2h or 60d")


def parse_bytes(text: str) -> float:
    """Read ``"1.5GB"`` or ``"512MiB"`` as bytes; a bare number is bytes."""
    return _with_suffix(text.upper(), _BYTE, "a size such as 512MiB or 1.5GB")


def _with_suffix(text: str, scales: dict[str, float], wanted: str) -> float:
    match = re.fullmatch(r"\s*([-+.\deE]+)\s*([A-Za-z]*)\s*", text)
    if match is None or (match[2] and match[2] not in scales):
        raise BadInputError(f"{text!r} is not {wanted}.", f"write {wanted}.")
    return _number(match[1], text, wanted) * scales.get(match[2], 1.0)


def _number(body: str, text: str, wanted: str) -> float:
    try:
        value = float(body)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BadInputError(f"{text!r} is not {wanted}.", f"write {wanted}.")
    return value
