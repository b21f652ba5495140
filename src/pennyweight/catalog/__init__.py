"""Facts as data, each row with its source: prices, devices, and how far each runtime is from a device's ceiling."""

from pennyweight.catalog.devices import Device, home, load_device, machine, this_cpu
from pennyweight.catalog.efficiency import Efficiency, load_efficiency
from pennyweight.catalog.prices import PriceSheet, load_prices

__all__ = [
    "Device",
    "Efficiency",
    "PriceSheet",
    "home",
    "load_device",
    "load_efficiency",
    "load_prices",
    "machine",
    "this_cpu",
]
