"""The benchmarks there are. A new one: its file, and a line in each of the two lists below."""

from ._base import Benchmark
from .flow_versus_descent import flow_versus_descent

BENCHMARKS: dict[str, Benchmark] = {benchmark.name: benchmark for benchmark in (flow_versus_descent,)}
