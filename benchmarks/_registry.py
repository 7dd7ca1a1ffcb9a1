"""The benchmarks there are. A new one: its file, its import, and its place in the table."""

from ._base import Benchmark
from .autoencoder_step import autoencoder_step
from .central_flow import central_flow
from .deep_matrix_grid import deep_matrix_grid
from .dimension_reduction import dimension_reduction
from .flow_versus_descent import flow_versus_descent
from .imputation import imputation
from .large_completion import large_completion
from .maximum_margin import maximum_margin
from .network_flows import network_flows
from .norms_to_infinity import norms_to_infinity
from .penalty_gradient import penalty_gradient
from .ratings import ratings
from .rows_on_disk import rows_on_disk
from .solvers import solvers
from .sparse_kinds import sparse_kinds
from .sparse_recovery import sparse_recovery
from .sparse_regression import sparse_regression
from .support import support
from .sweep_grid import sweep_grid
from .sweep_line import sweep_line
from .sweep_overhead import sweep_overhead
from .tensor_completion import tensor_completion
from .tensor_grid import tensor_grid
from .tensor_step import tensor_step

BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        central_flow,
        flow_versus_descent,
        deep_matrix_grid,
        network_flows,
        norms_to_infinity,
        imputation,
        large_completion,
        maximum_margin,
        penalty_gradient,
        ratings,
        rows_on_disk,
        solvers,
        sparse_recovery,
        sparse_regression,
        sparse_kinds,
        support,
        tensor_completion,
        tensor_step,
        tensor_grid,
        autoencoder_step,
        dimension_reduction,
        sweep_line,
        sweep_overhead,
        sweep_grid,
    )
}
