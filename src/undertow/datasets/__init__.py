"""Data: tables read and written, synthetic matrices, and real data sets with checksums."""

from undertow.datasets._images import load_digits_matrix, load_photograph
from undertow.datasets._movielens import DataNotFound, load_movielens_100k
from undertow.datasets._synthetic import low_rank_matrix, observe
from undertow.datasets._table_types import Matrix, Ratings, Source
from undertow.datasets._tables import read_pairs, read_table
from undertow.datasets._writing import check_output, write_completed_ratings, write_matrix, write_pairs

__all__ = [
    "DataNotFound",
    "Matrix",
    "Ratings",
    "Source",
    "check_output",
    "load_digits_matrix",
    "load_movielens_100k",
    "load_photograph",
    "low_rank_matrix",
    "observe",
    "read_pairs",
    "read_table",
    "write_completed_ratings",
    "write_matrix",
    "write_pairs",
]
