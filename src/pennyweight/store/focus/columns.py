"""The columns of FOCUS 1.2: which must be there, of what type they are, whether they may be empty, what they may say.

Source: FinOps Open Cost and Usage Specification, tag v1.2, https://github.com/FinOps-Open-Cost-and-Usage-Spec/FOCUS_Spec,
specification/columns and specification/attributes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["mandatory", "conditional", "recommended"]
Kind = Literal["text", "decimal", "moment", "json", "currency"]
VERSION = "1.2"


@dataclass(frozen=True, slots=True)
class Column:
    """One column; `empty` says whether it may be so at all, `allowed` the only values, () for any."""

    name: str
    level: Level
    kind: Kind
    empty: bool
    allowed: tuple[str, ...] = ()


CATEGORIES = ("Usage", "Purchase", "Tax", "Credit", "Adjustment")
SUBCATEGORIES = {
    "AI and Machine Learning": (
        "AI Platforms",
        "Bots",
        "Generative AI",
        "Machine Learning",
        "Natural Language Processing",
    ),
    "Analytics": (
        "Analytics Platforms",
        "Business Intelligence",
        "Data Processing",
        "Search",
        "Streaming Analytics",
    ),
    "Business Applications": ("Productivity and Collaboration",),
    "Compute": ("Containers", "End User Computing", "Quantum Compute", "Serverless Compute", "Virtual Machines"),
    "Databases": (
        "Caching",
        "Data Warehouses",
        "Ledger Databases",
        "NoSQL Databases",
        "Relational Databases",
        "Time Series Databases",
    ),
    "Developer Tools": (
        "Developer Platforms",
        "Continuous Integration and Deployment",
        "Development Environments",
        "Source Code Management",
        "Quality Assurance",
    ),
    "Identity": ("Identity and Access Management",),
    "Integration": ("API Management", "Messaging", "Workflow Orchestration"),
    "Internet of Things": ("IoT Analytics", "IoT Platforms"),
    "Management and Governance": (
        "Architecture",
        "Compliance",
        "Cost Management",
        "Data Governance",
        "Disaster Recovery",
        "Endpoint Management",
        "Observability",
        "Support",
    ),
    "Media": ("Content Creation", "Gaming", "Media Streaming", "Mixed Reality"),
    "Migration": ("Data Migration", "Resource Migration"),
    "Mobile": (),
    "Multicloud": ("Multicloud Integration",),
    "Networking": (
        "Application Networking",
        "Content Delivery",
        "Network Connectivity",
        "Network Infrastructure",
        "Network Routing",
        "Network Security",
    ),
    "Security": ("Secret Management", "Security Posture Management", "Threat Detection and Response"),
    "Storage": ("Backup Storage", "Block Storage", "File Storage", "Object Storage", "Storage Platforms"),
    "Web": ("Application Platforms",),
    "Other": (),
}
"""The service subcategories of every service category; each also has "Other (Category)"."""

_ALLOWED = {
    "ChargeCategory": CATEGORIES,
    "ChargeClass": ("Correction",),
    "ChargeFrequency": ("One-Time", "Recurring", "Usage-Based"),
    "PricingCategory": ("Standard", "Dynamic", "Committed", "Other"),
    "CapacityReservationStatus": ("Used", "Unused"),
    "CommitmentDiscountStatus": ("Used", "Unused"),
    "CommitmentDiscountCategory": ("Spend", "Usage"),
    "ServiceCategory": tuple(SUBCATEGORIES),
    "ServiceSubcategory": tuple(
        each for category, parts in SUBCATEGORIES.items() for each in (*parts, f"Other ({category})")
    ),
}
# name, level (m: mandatory, c: conditional, r: recommended), kind, and "?" where it may be empty
_TABLE = """
AvailabilityZone r text ?
BilledCost m decimal
BillingAccountId m text
BillingAccountName m text ?
BillingAccountType c text
BillingCurrency m currency
BillingPeriodEnd m moment
BillingPeriodStart m moment
CapacityReservationId c text ?
CapacityReservationStatus c text ?
ChargeCategory m text
ChargeClass m text ?
ChargeDescription m text ?
ChargeFrequency r text
ChargePeriodEnd m moment
ChargePeriodStart m moment
CommitmentDiscountCategory c text ?
CommitmentDiscountId c text ?
CommitmentDiscountName c text ?
CommitmentDiscountQuantity c decimal ?
CommitmentDiscountStatus c text ?
CommitmentDiscountType c text ?
CommitmentDiscountUnit c text ?
ConsumedQuantity c decimal ?
ConsumedUnit c text ?
ContractedCost m decimal
ContractedUnitPrice c decimal ?
EffectiveCost m decimal
InvoiceId r text ?
InvoiceIssuerName m text
ListCost m decimal
ListUnitPrice c decimal ?
PricingCategory c text ?
PricingCurrency c currency ?
PricingCurrencyContractedUnitPrice c decimal ?
PricingCurrencyEffectiveCost c decimal ?
PricingCurrencyListUnitPrice c decimal ?
PricingQuantity m decimal ?
PricingUnit m text ?
ProviderName m text
PublisherName m text
RegionId c text ?
RegionName c text ?
ResourceId c text ?
ResourceName c text ?
ResourceType c text ?
ServiceCategory m text
ServiceName m text
ServiceSubcategory r text
SkuId c text ?
SkuMeter c text ?
SkuPriceDetails c json ?
SkuPriceId c text ?
SubAccountId c text ?
SubAccountName c text ?
SubAccountType c text ?
Tags c json ?
"""
_LEVELS: dict[str, Level] = {"m": "mandatory", "c": "conditional", "r": "recommended"}


def _column(name: str, level: str, kind: str, *empty: str) -> Column:
    return Column(name, _LEVELS[level], kind, bool(empty), _ALLOWED.get(name, ()))  # type: ignore[arg-type]


COLUMNS = {each.name: each for each in (_column(*line.split()) for line in _TABLE.split("\n") if line)}
MANDATORY = tuple(each.name for each in COLUMNS.values() if each.level == "mandatory")


def kind_of(name: str) -> Kind:
    """The type of a column; those of our own (`x_…`) that end in a quantity are decimals, other strangers text."""
    found = COLUMNS.get(name)
    if found is not None:
        return found.kind
    return "decimal" if name.startswith("x_") and name.endswith(("Joules", "Seconds", "Requests")) else "text"
