"""Data: tables read and written, synthetic matrices, and real data sets with checksums."""

from undertow.datasets._dialect import Dialect
from undertow.datasets._image_folder import load_image_folder
from undertow.datasets._images import Digits, load_digits_images, load_digits_matrix, load_photograph
from undertow.datasets._mnist import LabeledImages, fashion_mnist, mnist
from undertow.datasets._movielens import load_movielens_100k
from undertow.datasets._one_hidden_entry import one_hidden_entry, sign_of_solutions
from undertow.datasets._places import DataNotFound
from undertow.datasets._shapes import ShapeImages, pad_images, shape_images
from undertow.datasets._synthetic import low_rank_matrix, observe
from undertow.datasets._table_types import Matrix, Ratings, Source
from undertow.datasets._tables import read_pairs, read_table
from undertow.datasets._tensor_tables import Tensor, read_tensor
from undertow.datasets._writing import (
    check_output,
    write_completed_ratings,
    write_completed_tensor,
    write_matrix,
    write_pairs,
)

from .._public import public_names as _public_names

__all__ = [
    "DataNotFound",
    "Dialect",
    "Digits",
    "LabeledImages",
    "Matrix",
    "Ratings",
    "ShapeImages",
    "Source",
    "Tensor",
    "check_output",
    "fashion_mnist",
    "load_digits_images",
    "load_digits_matrix",
    "load_image_folder",
    "load_movielens_100k",
    "load_photograph",
    "low_rank_matrix",
    "mnist",
    "observe",
    "one_hidden_entry",
    "pad_images",
    "read_pairs",
    "read_table",
    "read_tensor",
    "shape_images",
    "sign_of_solutions",
    "write_completed_ratings",
    "write_completed_tensor",
    "write_matrix",
    "write_pairs",
]

__dir__ = _public_names(__name__)
