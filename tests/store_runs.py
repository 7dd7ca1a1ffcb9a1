"""Runs of sweeps that other processes import: descent on a quadratic, in a few steps."""

import os
import signal
from pathlib import Path

import undertow as ut

LINE = ut.problems.LineTarget(-1.0, -2.0, 15.0)
PHI = ut.parameterizations.Power(2, 1)
DESCENT = ut.dynamics.GradientDescent(ut.optimizers.make("gd", 0.1))


def line(scale=1.0, seed=0, steps=4):
    return ut.train(LINE, PHI, DESCENT, key=seed, scale=scale, stop=ut.Stop(loss=0, steps=steps), samples=4)


def raising(scale, seed):
    if seed == 1:
        raise RuntimeError("seed 1 is bad")
    return line(scale, seed)


def twice(scale, seed):
    first = line(scale, seed)
    return ut.train(LINE, PHI, DESCENT, params=first.params, stop=ut.Stop(loss=0, steps=3), samples=4)


def dying(scale, seed):
    """The first process that comes here dies, as if it were killed."""
    mark = Path(os.environ["UNDERTOW_TEST_MARK"])
    if seed == 2 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return line(scale, seed)


def watched(**axes):
    """Whatever the axes are called; "n" is how many numbers a probe has."""
    probe = ut.probes.Function("v", lambda w: w[: axes.get("n", 1)])
    return ut.train(LINE, PHI, DESCENT, key=0, scale=1.0, stop=ut.Stop(loss=0, steps=2), samples=3, probes=[probe])


def steps(steps, seed, flag):
    """As many steps as are asked for, whatever the rest says."""
    return line(1.0, seed, steps)


def flow(scale):
    return ut.train(LINE, ut.parameterizations.Power(2, 2), ut.dynamics.GradientFlow(), key=0, scale=scale, samples=16)
