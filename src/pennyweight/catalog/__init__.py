"""Facts as data, each row with its source: prices, devices, and how far each runtime is from a device's ceiling."""

from pennyweight.catalog.efficiency import Efficiency, load_efficiency
from pennyweight.catalog.load import Device, PriceSheet, home, load_device, load_prices, machine, this_cpu

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
