"""The benchmarks there are. A new one: its file, its import, and its place in the table."""

from ._base import Benchmark
from .flow_versus_descent import flow_versus_descent
from .solvers import solvers
from .sparse_recovery import sparse_recovery
from .sparse_regression import sparse_regression

BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark for benchmark in (flow_versus_descent, solvers, sparse_recovery, sparse_regression)
}
