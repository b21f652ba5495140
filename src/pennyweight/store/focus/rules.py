"""The rules of FOCUS 1.2 that tie columns of one row together: when they may or must be empty, and what must agree."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING

from pennyweight.store.focus.columns import SUBCATEGORIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Row = Mapping[str, str | None]
    Told = Iterator[tuple[str, str]]

_PROPERTIES = frozenset(
    {
        "CoreCount",
        "DiskMaxIops",
        "DiskSpace",
        "DiskType",
        "GpuCount",
        "InstanceType",
        "InstanceSeries",
        "MemorySize",
        "NetworkMaxIops",
        "NetworkMaxThroughput",
        "OperatingSystem",
        "Redundancy",
        "StorageClass",
    }
)
_PRICED = ("PricingQuantity", "ListUnitPrice", "ContractedUnitPrice", "PricingCategory", "SkuId", "SkuPriceId")
# what is empty exactly when the other is
_TWINS = (
    ("ConsumedUnit", "ConsumedQuantity"),
    ("PricingUnit", "PricingQuantity"),
    ("CommitmentDiscountUnit", "CommitmentDiscountQuantity"),
    ("CommitmentDiscountType", "CommitmentDiscountId"),
    ("CommitmentDiscountCategory", "CommitmentDiscountId"),
    ("ResourceType", "ResourceId"),
    ("SubAccountName", "SubAccountId"),
    ("SubAccountType", "SubAccountId"),
)
# what is empty when the other is
_FOLLOWERS = (
    ("ResourceName", "ResourceId"),
    ("SkuMeter", "SkuId"),
    ("SkuPriceDetails", "SkuPriceId"),
    ("CommitmentDiscountName", "CommitmentDiscountId"),
    ("CommitmentDiscountStatus", "CommitmentDiscountId"),
    ("CapacityReservationStatus", "CapacityReservationId"),
)
_CENT = Decimal("1e-12")


def broken(row: Row, wrong: frozenset[str]) -> Told:
    """The rules that a row breaks, as (column, why); columns in `wrong` are no values and are not looked at."""
    for rule in _RULES:
        for name, why in rule(row):
            if name in row and name not in wrong:
                yield name, why


def _periods(row: Row) -> Told:
    for what in ("BillingPeriod", "ChargePeriod"):
        begin, end = row.get(f"{what}Start"), row.get(f"{what}End")
        if begin and end and not begin < end:
            yield f"{what}End", f"it is not after {what}Start."


def _priced(row: Row) -> Told:
    category = row.get("ChargeCategory")
    for name in _PRICED:
        if category == "Tax" and row.get(name) is not None:
            yield name, "it must be empty for a Tax."
        if category in {"Usage", "Purchase"} and row.get("ChargeClass") is None and row.get(name) is None:
            yield name, f"it may not be empty for a {category} that is no Correction."


def _consumed(row: Row) -> Told:
    used = row.get("ChargeCategory") == "Usage" and row.get("CommitmentDiscountStatus") != "Unused"
    given = row.get("ConsumedQuantity") is not None
    if given and not used:
        yield "ConsumedQuantity", "it must be empty for what is no Usage or was not used."
    if used and not given and row.get("ChargeClass") is None:
        yield "ConsumedQuantity", "it may not be empty for a Usage that is no Correction."


def _together(row: Row) -> Told:
    for name, of in _TWINS:
        if name in row and of in row and (row.get(name) is None) != (row.get(of) is None):
            yield name, f"it must be empty exactly when {of} is."
    for name, of in _FOLLOWERS:
        if row.get(name) is not None and row.get(of) is None:
            yield name, f"it must be empty when {of} is."


def _frequency(row: Row) -> Told:
    if row.get("ChargeCategory") == "Purchase" and row.get("ChargeFrequency") == "Usage-Based":
        yield "ChargeFrequency", "a Purchase is not Usage-Based."


def _service(row: Row) -> Told:
    category, part = row.get("ServiceCategory"), row.get("ServiceSubcategory")
    if category not in SUBCATEGORIES or part is None:
        return
    if part not in {*SUBCATEGORIES[category], f"Other ({category})"}:
        yield "ServiceSubcategory", f"it does not belong to {category}."


def _products(row: Row) -> Told:
    for name in ("List", "Contracted"):
        price, cost = _number(row, f"{name}UnitPrice"), _number(row, f"{name}Cost")
        quantity, billed = _number(row, "PricingQuantity"), _number(row, "BilledCost")
        if price is not None and price < 0:
            yield f"{name}UnitPrice", "a unit price is not less than nothing."
        if cost is None or row.get("ChargeClass") == "Correction":
            continue
        if price is not None and quantity is not None and not _same(price * quantity, cost):
            yield f"{name}Cost", f"it is not {name}UnitPrice × PricingQuantity = {price * quantity}."
        if price is None and row.get("ChargeCategory") == "Credit" and billed is not None and cost != billed:
            yield f"{name}Cost", "without a unit price it is the BilledCost of a Credit."


def _effective(row: Row) -> Told:
    cost, billed = _number(row, "EffectiveCost"), _number(row, "BilledCost")
    if row.get("ChargeCategory") in {"Credit", "Adjustment"} and None not in {cost, billed} and cost != billed:
        yield "EffectiveCost", "it is the BilledCost where nothing was used or purchased."


def _commitments(row: Row) -> Told:
    if row.get("ChargeCategory") != "Usage":
        return
    for what in ("CommitmentDiscount", "CapacityReservation"):
        if row.get(f"{what}Id") is not None and row.get(f"{what}Status") is None:
            yield f"{what}Status", f"it may not be empty for a Usage with a {what}Id."


def _details(row: Row) -> Told:
    try:
        names = dict(json.loads(row.get("SkuPriceDetails") or "{}"))
    except (ValueError, TypeError, RecursionError):
        return
    for name in names:
        if name not in _PROPERTIES and not name.startswith("x_"):
            yield "SkuPriceDetails", f"{name[:40]!r} is no property of FOCUS and does not begin with x_."


def _named(row: Row) -> Told:
    if row.get("ResourceName") is not None and row.get("ResourceName") == row.get("ResourceId"):
        yield "ResourceName", "it only repeats ResourceId; leave it empty."


def _number(row: Row, name: str) -> Decimal | None:
    try:
        found = Decimal(row.get(name) or "NaN")
    except ArithmeticError:
        return None
    return found if found.is_finite() else None


def _same(a: Decimal, b: Decimal) -> bool:
    """Equal, but for what files with floating-point numbers lose."""
    return abs(a - b) <= max(_CENT, abs(a) * _CENT)


_RULES: tuple[Callable[[Row], Told], ...] = (
    _periods,
    _priced,
    _consumed,
    _together,
    _frequency,
    _service,
    _products,
    _effective,
    _commitments,
    _details,
    _named,
)
