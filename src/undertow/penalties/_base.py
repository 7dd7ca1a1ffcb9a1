"""What every penalty offers: a value of an array, and whether that array is w or what w is written in.

The two are different things. On w, ``L2`` is ridge regression whatever the parameterization; on the parameters it is
weight decay, and what it means for w is up to the parameterization: of a deep matrix of depth 2 the nuclear norm.
"""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._repr import shown
from ..parameterizations import Parameterization
from ..parameterizations._base import Params


class Penalty(eqx.Module):
    """A function of an array, added to the loss that is minimized. Penalties add up with ``+``.

    Numbers such as a weight are arrays of the module, not static: runs of a sweep that differ in them share a program.
    """

    def __repr__(self) -> str:
        return shown(self)

    @abc.abstractmethod
    def __call__(self, w: Float[Array, "..."]) -> Float[Array, ""]:
        """The value at ``w``."""

    def of(self, parameterization: Parameterization, params: Params) -> Float[Array, ""]:
        """The value at parameters: of the w that they give, unless it is ``OnParameters``."""
        return self(parameterization(params))

    @property
    def of_w(self) -> bool:
        """Whether w is looked at, so that it has to be formed."""
        return True

    def check(self, parameterization: Parameterization, params: Params) -> None:
        """Raise ValueError where this has no value, as of a shape that does not fit; called before any work."""
        del params
        self.check_shape("w", parameterization.shape)

    def check_shape(self, name: str, shape: tuple[int, ...]) -> None:
        """Raise ValueError where an array of this name and shape has no value."""

    def __add__(self, other: Any) -> "Sum":
        """Both."""
        if not isinstance(other, Penalty):
            return NotImplemented
        return Sum(self, other)


class Sum(Penalty):
    """The sum of two penalties, as ``+`` makes it.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from undertow.penalties import L1, L2
    >>> float((L1(2.0) + L2(1.0))(jnp.array([3.0, -4.0])))
    26.5
    """

    first: Penalty
    second: Penalty

    def __repr__(self) -> str:
        return f"{self.first!r} + {self.second!r}"

    def __call__(self, w: Float[Array, "..."]) -> Float[Array, ""]:
        return self.first(w) + self.second(w)

    def of(self, parameterization: Parameterization, params: Params) -> Float[Array, ""]:
        return self.first.of(parameterization, params) + self.second.of(parameterization, params)

    @property
    def of_w(self) -> bool:
        return self.first.of_w or self.second.of_w

    def check(self, parameterization: Parameterization, params: Params) -> None:
        self.first.check(parameterization, params)
        self.second.check(parameterization, params)

    def check_shape(self, name: str, shape: tuple[int, ...]) -> None:
        self.first.check_shape(name, shape)
        self.second.check_shape(name, shape)


class OnParameters(Penalty):
    r"""A penalty of the parameters instead of w: the sum of its values over their arrays. With ``L2`` weight decay.

    Parameters
    ----------
    penalty
        Of one array.

    Raises
    ------
    TypeError
        If ``penalty`` is none.

    Examples
    --------
    >>> import jax
    >>> import undertow as ut
    >>> decay = ut.penalties.OnParameters(ut.penalties.L2(0.1))
    >>> phi = ut.parameterizations.DeepMatrix((2, 2), depth=2, initialization="identity")
    >>> round(float(decay.of(phi, phi.init(jax.random.key(0), 1.0))), 6)
    0.282843
    """

    penalty: Penalty

    def __init__(self, penalty: Any):
        if not isinstance(penalty, Penalty):
            raise TypeError(f"penalty: expected an undertow.penalties.Penalty, found {penalty!r}")
        self.penalty = penalty

    def __call__(self, w: Float[Array, "..."]) -> Float[Array, ""]:
        return self.penalty(w)

    def of(self, parameterization: Parameterization, params: Params) -> Float[Array, ""]:
        values = [self.penalty(leaf) for leaf in jax.tree.leaves(params)]
        return sum(values[1:], values[0])

    @property
    def of_w(self) -> bool:
        return False

    def check(self, parameterization: Parameterization, params: Params) -> None:
        for path, leaf in jax.tree_util.tree_leaves_with_path(params):
            self.penalty.check_shape(f"params{jax.tree_util.keystr(path)}", jnp.shape(leaf))

    def check_shape(self, name: str, shape: tuple[int, ...]) -> None:
        self.penalty.check_shape(name, shape)


class OfMatrices(Penalty):
    """A penalty that matrices alone have."""

    def check_shape(self, name: str, shape: tuple[int, ...]) -> None:
        if len(shape) != 2:
            raise ValueError(
                f"penalty: {type(self).__name__} is of the singular values of a matrix, found {name} of shape {shape}; "
                "L1 and L2 are of any shape"
            )
