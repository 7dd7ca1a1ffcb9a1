"""
Margins: what is left to choose at infinity
===========================================

Points that a line can separate, and a loss that reaches zero at infinity only. Every optimizer separates them; which
way it goes to infinity depends on the norm in which it takes its steps.
"""

import jax
import jax.numpy as jnp
import numpy as np

import undertow as ut
from undertow import plotting

jax.config.update("jax_enable_x64", True)

X = np.array([[2.0, 1.0], [3.0, 2.2], [2.6, 0.9], [-2.2, -0.9], [-2.5, -1.8], [-3.0, -1.0]])
y = np.array([1, 1, 1, -1, -1, -1])
problem = ut.problems.Classification(X, y, "exponential")
print(f"separation: {problem.separation}; a minimizer: {problem.attained}")

# %%
# Gradient flow, to log t = 1000: plain descent would take exp(1000) steps. The direction comes near that of the widest
# margin like 1 / log t, as theory says, and the constant is known too, in the span of the
# support vectors.

phi = ut.parameterizations.Identity(2)
widest = ut.theory.maximum_margin(problem)
flow = ut.train(
    problem,
    phi,
    ut.dynamics.GradientFlow(rtol=1e-8),
    params=jnp.zeros(2),
    stop=ut.Stop(loss=None, log_time=1000.0),
    probes=[ut.probes.DirectionError(widest), ut.probes.Margin()],
)
rate = ut.theory.hard_margin_rate(problem)
print(f"status {flow.status}, {flow.steps[-1]} steps, log of the loss {flow['log_loss'][-1]:.1f}")
rest = rate.basis.T @ (rate.basis @ (flow.w - 1000 * rate.w_hat))
print(f"w - w_hat log t, in the span of the support: {rest.round(5)}, predicted {rate.w_tilde.round(5)}")
print(f"margin {flow['margin'][-1]:.5f}, the widest {1 / np.linalg.norm(widest):.5f}")

# %%
# Steepest descent in other norms finds other margins: coordinate descent that in l1, sign descent that in l-infinity.


def unit(w):
    return w / np.linalg.norm(w)


ends = {}
for norm in ("l1", "l2", "linf"):
    descent = ut.dynamics.SteepestDescent(norm, lambda step: 1 / jnp.sqrt(1.0 + step))
    run = ut.train(problem, phi, descent, params=jnp.zeros(2), stop=ut.Stop(loss=None, steps=20_000))
    ends[norm] = unit(run.w), unit(ut.theory.maximum_margin(problem, norm, ties="any"))
    print(f"{norm:4}: ends in the direction {ends[norm][0].round(3)}, widest margin {ends[norm][1].round(3)}")

with plotting.figure(1, 2, width=11.0) as (figure, (left, right)):
    later = np.asarray(flow.log_times) > 1
    left.loglog(
        np.asarray(flow.log_times)[later],
        np.asarray(flow["direction_error"])[later],
        color=plotting.color_of("gradient flow"),
    )
    left.set(xlabel="log t", ylabel="error of the direction")
    for label, marker in ((1, "o"), (-1, "s")):
        right.plot(*X[y == label].T, marker, color=plotting.color_of("ink"), markersize=9)
    for (norm, (end, _)), role in zip(ends.items(), ("optimum", "gradient flow", "test"), strict=True):
        across = np.array([-end[1], end[0]])
        right.plot(*np.outer([-3.5, 3.5], across).T, color=plotting.color_of(role), label=norm)
    right.set(xlabel="first feature", ylabel="second feature", xlim=(-3.4, 3.4), ylim=(-2.6, 2.6), aspect="equal")
    right.legend()
