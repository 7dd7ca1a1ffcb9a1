"""Dimension reduction by an autoencoder whose linear layers find how many dimensions there are."""

import math
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.mixture import GaussianMixture
from sklearn.utils.validation import check_array, check_is_fitted

from .._numpy_errors import usual_errors
from .._validation import check_choice, check_integer
from ..problems import ChunkedRows
from ..training._progress import reporter
from ._linear_path import Bottleneck, WithLinearPath
from ._rank_minimizing_fit import Model, Training, fit
from ._rank_minimizing_settings import check_parameters, networks_of, sizes_of
from ._rows import as_table, check_image_shape, pixels, restored, scaling_of, standardized
from ._rows_on_disk import Blocks, StandardizedRows, blocks_of, is_on_disk, rows_where, scaling_of_blocks
from ._validation import checked_table, seed_of

STEPS, EPOCHS = 6000, 10
"""Of a run, at least, where ``max_epochs`` is "auto"."""
DISTRIBUTIONS = ("gaussian", "mixture")


class RankMinimizingAutoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    r"""Dimension reduction by an autoencoder that finds how many dimensions there are, for tables and for images.

    Between encoder and decoder there are l square matrices without biases. They add nothing to what can be written, but
    from a small start descent learns the directions of a code one after another, the strongest first, and leaves the
    others near zero: the rank of the codes is read off. Then

    1. An autoencoder with code :math:`z = W_l \cdots W_1 E(x)` is trained, and kept as it reconstructs held-out rows
       best. ``rank_`` is how many of the variances of its codes exceed a share of the largest.
    2. An autoencoder of that many dimensions, which has linear maps beside the layers of encoder and decoder, is
       trained from the principal components on, and is kept as it reconstructs the held-out rows best: where what is
       gained is within two standard errors, these components are what comes out.

    Columns of a table are taken in units of their standard deviations, so that units do not matter; all pixels of
    images in one. Errors and variances are in these units. The matrices are one when training has ended, and
    coordinates are those along the principal directions of the codes, with mean 0.

    Parameters
    ----------
    n_components : int or None
        Dimensions of what ``transform`` returns; left out: as many as are found.
    code_size : int or "auto"
        Numbers n in a code, at most as many as in a row. "auto": as many as columns, one less than rows, or 128,
        whichever is least.
    layers : int
        l; 0 is a plain autoencoder. See the notes.
    initialization : "uniform", "lecun" or "orthogonal"
        Of the matrices. "uniform": each makes codes 3^(1/2) times shorter, which is a part of the effect; the others
        keep lengths.
    refit : bool
        Whether there is the second part; otherwise codes are those of the first, as in the source, cut to its leading
        directions.
    architecture : "dense" or "convolutional"
        The papers' convolutions are there for images of 28 x 28, 32 x 32, 32 x 32 x 3 and 64 x 64 x 3.
    hidden : sequence of int
        Sizes of dense layers, with ReLU, between row and code; the decoder mirrors them.
    image_shape : tuple or None
        (height, width) or (height, width, channels) of images that are given as flat rows, which are pixels then.
    threshold : float
        The share of the largest variance, from 0 to 1: 1e-2 is a tenth of the length.
    max_epochs : int or "auto"
        Most passes over the rows in each of the two parts; "auto": 10, or as many as 6,000 steps take.
    batch_size : int
        Rows a step; at most those that are trained with.
    learning_rate : float
        Of Adam.
    validation_fraction : float
        Share of the rows that are held out, at most one half.
    patience : int
        A run ends after so many looks at the held-out rows without a lower error. It looks 200 times at most, every 25
        steps and once an epoch at most.
    random_state : int, RandomState or None
        Of everything that is drawn.
    verbose : bool
        Whether to show progress (on a terminal or in a notebook).

    Attributes
    ----------
    rank_ : int
        Dimensions of the codes, found or given: columns of what ``transform`` returns.
    singular_values_ : ndarray of shape (n,)
        Square roots of the variances (over rows - 1) of the codes of the first part along their principal directions:
        standard deviations, in descending order. Only their ratios mean something.
    embedding_ : ndarray of shape (rows, ``rank_``)
        ``transform`` of what was fitted, to which ``sample`` fits.
    validation_errors_ : dict
        Mean squares over held-out rows, in the units above: "mean" (of the columns), "network", and with ``refit``
        "linear", of as many principal components.
    validation_path_ : ndarray
        The same along the first run.
    image_shape_ : tuple or None
        Of a row, with channels; None for tables.
    weights_ : dict of str to ndarray
        All of the fitted networks.
    n_features_in_, feature_names_in_
        As in scikit-learn; of images the number of pixels and channels.

    Notes
    -----
    l from 2 to 4 with the "uniform" start serves for tables and images. With more, fewer directions are learned before
    the error on held-out rows stops falling, and with too many none: there is a warning then. A larger l takes more
    epochs.

    Numbers are float32 unless JAX is told ``jax.config.update("jax_enable_x64", True)``. A second fit of the same
    shapes compiles nothing. How it does beside principal components and other autoencoders is among the benchmarks in
    the documentation.

    References
    ----------
    Jing, Zbontar, LeCun. Implicit Rank-Minimizing Autoencoder. NeurIPS 2020 (the first part).

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 3)) @ rng.normal(size=(3, 8)) * 10.0 ** np.arange(8)
    >>> model = RankMinimizingAutoencoder(hidden=(16,), max_epochs=200)
    >>> model.fit_transform(X).shape
    (200, 3)
    """

    def __init__(
        self,
        *,
        n_components: int | None = None,
        code_size: Any = "auto",
        layers: int = 3,
        initialization: str = "uniform",
        refit: bool = True,
        architecture: str = "dense",
        hidden: Any = (128, 64),
        image_shape: Any = None,
        threshold: float = 1e-2,
        max_epochs: Any = "auto",
        batch_size: int = 32,
        learning_rate: float = 1e-3,
        validation_fraction: float = 0.1,
        patience: int = 20,
        random_state: Any = 0,
        verbose: bool = False,
    ):
        self.n_components = n_components
        self.code_size = code_size
        self.layers = layers
        self.initialization = initialization
        self.refit = refit
        self.architecture = architecture
        self.hidden = hidden
        self.image_shape = image_shape
        self.threshold = threshold
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.random_state = random_state
        self.verbose = verbose

    @usual_errors
    def fit(self, X: Any, y: Any = None) -> "RankMinimizingAutoencoder":
        """Fit a table (rows x columns), images (n x height x width, with or without channels), or flat images.

        Pixels are bytes (uint8), or numbers from 0 to 1. A ``numpy.memmap`` of more than 32 MiB, and
        ``problems.ChunkedRows`` of other arrays on a disk, are read chunk by chunk, in the order that ``ChunkedRows``
        says, here and by ``transform``; what stays in memory is ``embedding_``.

        Raises
        ------
        TypeError, ValueError
            If a parameter is out of its range or does not fit the data; if ``X`` has NaN or infinity, less than two
            rows or the same in all rows, or pixels out of range.

        Warns
        -----
        ConvergenceWarning
            If a run diverged, or nothing was learned.
        """
        check_parameters(self)
        seed = seed_of(self.random_state)
        z, form = self._standardized_from_disk(X) if is_on_disk(X) else self._standardized(X)
        many, columns = len(z), math.prod(z.shape[1:])
        size, components = sizes_of(self, many, columns)
        held = np.zeros(many, bool)
        held[np.random.default_rng(seed).permutation(many)[: max(1, round(self.validation_fraction * many))]] = True
        self._network = networks_of(self, columns, self.image_shape_, size)
        architecture = WithLinearPath(**self._network)
        data = [rows_where(z, some, architecture.shape) for some in (~held, held)]
        batch = min(self.batch_size, len(data[0]))
        per_epoch = math.ceil(len(data[0]) / batch)
        epochs = max(EPOCHS, math.ceil(STEPS / per_epoch)) if self.max_epochs == "auto" else self.max_epochs
        training = Training(per_epoch, epochs, batch, float(self.learning_rate), self.patience, data[1])
        phi = Bottleneck(architecture, data[0], self.layers, self.initialization)
        with reporter(self.verbose) as report:
            found = fit(z, held, phi, training, float(self.threshold), components, bool(self.refit), seed, report)
        self.weights_, self.rank_, self.singular_values_ = found.weights, found.rank, found.singular_values
        self.validation_errors_, self.validation_path_ = found.errors, found.path
        self._form, self._seed = form, seed
        self.embedding_ = np.concatenate([self._model.codes(rows) for rows in blocks_of(z)])
        return self

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> Any:
        """Fit ``X``, and give its coordinates; errors as of ``fit``."""
        return super().fit_transform(X, y, **fit_params)

    @usual_errors
    def transform(self, X: Any) -> np.ndarray:
        """Coordinates (m x ``rank_``) of rows, of those that were fitted or others.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        TypeError, ValueError
            If ``X`` has other columns, images of another size or pixels out of range, NaN or infinity, or is so far
            from what was fitted that no float holds the answer.
        """
        return self._codes("X", X)

    @usual_errors
    def inverse_transform(self, X: Any) -> np.ndarray:
        """Rows from coordinates (m x ``rank_``), of the shape that was fitted; pixels from 0 to 1.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If ``X`` has not ``rank_`` columns of finite numbers, or ones so large that no float holds the answer.
        """
        check_is_fitted(self, "weights_")
        codes = np.asarray(check_array(X, dtype="float64", input_name="X"))
        if codes.shape[1] != self.rank_:
            raise ValueError(f"X: expected {self.rank_} columns, as transform returns, found {codes.shape[1]}")
        rows = restored(self._finite("X", self._model.rows(codes)), self._scaling)
        return rows if self.image_shape_ is None else np.clip(rows, 0, 1).reshape(len(rows), *self._form)

    def sample(
        self, n: int = 1, random_state: Any = None, *, distribution: str = "gaussian", components: int = 4
    ) -> np.ndarray:
        """Draw new rows, by drawing coordinates from a distribution that is fitted to those of what was fitted.

        Parameters
        ----------
        n
            How many.
        random_state : int, RandomState or None
            Of the draws; the mixture is fitted with that of the estimator.
        distribution
            "gaussian", or "mixture": of so many Gaussians with covariances of their own.
        components
            Gaussians of the mixture, at most as many as rows.

        Returns
        -------
        As ``inverse_transform`` returns them.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        TypeError, ValueError
            If an argument is out of its range.
        """
        check_is_fitted(self, "weights_")
        n, components = check_integer("n", n, 1), check_integer("components", components, 1)
        check_choice("distribution", distribution, DISTRIBUTIONS)
        draws = np.random.RandomState(seed_of(random_state))
        scale = self.embedding_.std(axis=0)
        codes = self.embedding_ / np.where(scale > 0, scale, 1)
        if distribution == "gaussian" or len(codes) < 2 * components:
            components = 1
        mixture = GaussianMixture(components, random_state=self._seed).fit(codes)
        mixture.set_params(random_state=draws)
        return self.inverse_transform(mixture.sample(n)[0] * scale)

    @usual_errors
    def interpolate(self, X0: Any, X1: Any, steps: int = 10) -> np.ndarray:
        """Rows along the straight lines between the coordinates of rows of ``X0`` and of ``X1``, both ends among them.

        Returns
        -------
        An array (m x ``steps`` x ...), each of its entries as ``inverse_transform`` returns rows.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        TypeError, ValueError
            As of ``transform``; if there are not as many rows in both; if ``steps`` is not an integer of at least 2.
        """
        steps = check_integer("steps", steps, 2)
        start, end = self._codes("X0", X0), self._codes("X1", X1)
        if len(start) != len(end):
            raise ValueError(f"X1: expected as many rows as X0 has, {len(start)}, found {len(end)}")
        share = np.linspace(0, 1, steps)[None, :, None]
        path = (1 - share) * start[:, None] + share * end[:, None]
        rows = self.inverse_transform(path.reshape(-1, self.rank_))
        return rows.reshape(len(start), steps, *rows.shape[1:])

    @property
    def _n_features_out(self) -> int:
        return self.rank_

    @property
    def _model(self) -> Model:
        return Model(WithLinearPath(**self._network), self.weights_)

    def _checked(self, X: Any, reset: bool) -> tuple[np.ndarray, tuple[int, ...]]:
        """Rows of numbers, and the shape that they were given in; finds ``image_shape_`` where they are fitted."""
        table, found = as_table(X)
        form = () if found is None else np.shape(X)[1:]
        if reset:
            told = None if self.image_shape is None else check_image_shape(self.image_shape)
            if None not in (told, found) and told != found:
                raise ValueError(f"image_shape: expected {found}, as X has, found {told}; it is for flat images")
            self.image_shape_ = told if found is None else found
        elif found is not None and found != self.image_shape_:
            fitted = "a table" if self.image_shape_ is None else f"images of shape {self.image_shape_}"
            raise ValueError(f"X: expected {fitted}, as was fitted, found images of shape {found}")
        kinds = [np.float64, np.float32, np.uint8]
        # In one order in memory: sums in another one differ in the last bits, which a long run makes large.
        rows = np.ascontiguousarray(
            checked_table(self, table, reset=reset, dtype=kinds, ensure_min_samples=2 if reset else 1)
        )
        if self.image_shape_ is None:
            return rows.astype(np.float64, copy=False), rows.shape[1:]
        if rows.shape[1] != math.prod(self.image_shape_):
            expected = f"{math.prod(self.image_shape_)} columns for {self.image_shape_}"
            raise ValueError(f"image_shape: expected {expected}, found {rows.shape[1]}")
        return pixels(rows), form or rows.shape[1:]

    def _standardized(self, X: Any) -> tuple[np.ndarray, tuple[int, ...]]:
        """Rows in units of their own, which are found, and the shape that they were given in."""
        rows, form = self._checked(X, reset=True)
        self._scaling = scaling_of(rows, self.image_shape_ is not None)
        self._check_differ(len(rows))
        return standardized(rows, self._scaling), form

    def _standardized_from_disk(self, X: Any) -> tuple[ChunkedRows, tuple[int, ...]]:
        blocks = Blocks(X)
        form = self._checked(next(iter(blocks)), reset=True)[1]
        images = self.image_shape_ is not None
        self._scaling = scaling_of_blocks(lambda: (self._checked(some, reset=False)[0] for some in blocks), images)
        self._check_differ(blocks.shape[0])
        source = StandardizedRows(blocks, images, self._scaling)
        return ChunkedRows(source, X.chunk if isinstance(X, ChunkedRows) else None), form

    def _check_differ(self, count: int) -> None:
        if not self._scaling["deviation"].any():
            raise ValueError(f"X: expected rows that differ, found {count} times the same")

    def _codes(self, name: str, X: Any) -> np.ndarray:
        check_is_fitted(self, "weights_")
        if is_on_disk(X):
            found, start = [], 0
            for rows in Blocks(X):
                found.append(self._codes_of(name, rows, start))
                start += len(rows)
            return np.concatenate(found)
        return self._codes_of(name, X)

    def _codes_of(self, name: str, X: Any, start: int = 0) -> np.ndarray:
        rows, _ = self._checked(X, reset=False)
        z = self._finite(name, standardized(rows, self._scaling), start)
        return self._finite(name, self._model.codes(z), start)

    def _finite(self, name: str, found: np.ndarray, start: int = 0) -> np.ndarray:
        bad = ~np.isfinite(found).all(axis=1)
        if bad.any():
            place = start + int(bad.argmax())
            raise ValueError(f"{name}: expected rows near those that were fitted, found row {place} too far away")
        return found
