"""Where cost is measured: export to a runtime, timing, this machine, latency tables, and the cost cache."""

from archfit.device.cache import CostCache, cache_key
from archfit.device.cluster import ClusterDevice
from archfit.device.costing import cost_key, measure_cost
from archfit.device.export import as_deployed, export_candidate, export_winner
from archfit.device.files import measure_file, read_network
from archfit.device.latency_table import LatencyTable
from archfit.device.local import LocalDevice, processor_name
from archfit.device.memory import peak_activation_bytes, weights_bytes
from archfit.device.protocol import Device
from archfit.device.runtimes import RUNTIMES, Runtime, get_runtime, runtime_label
from archfit.device.timing import Effort

__all__ = [
    "RUNTIMES",
    "ClusterDevice",
    "CostCache",
    "Device",
    "Effort",
    "LatencyTable",
    "LocalDevice",
    "Runtime",
    "as_deployed",
    "cache_key",
    "cost_key",
    "export_candidate",
    "export_winner",
    "get_runtime",
    "measure_cost",
    "measure_file",
    "peak_activation_bytes",
    "processor_name",
    "read_network",
    "runtime_label",
    "weights_bytes",
]
