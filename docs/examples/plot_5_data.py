"""
Data: a photograph with seven tenths of its pixels gone
=======================================================

A photograph is no matrix of low rank, but it is nearly one. Descent on a factorization, from a small start, learns the
large structure first; stopped by pixels that were held out, it needs no penalty.
"""

import matplotlib as mpl
import numpy as np

from undertow import plotting
from undertow.datasets import load_photograph
from undertow.estimators import Settings, complete, fit_effects

truth = load_photograph("china", (120, 180))
seen = np.random.default_rng(0).random(truth.shape) < 0.3
given = np.where(seen, truth, np.nan)

# %%
# Row and column effects first, then a factorization of what they leave. Beside it, what the effects alone give.

i, j = np.nonzero(seen)
completion = complete(i, j, truth[seen], truth.shape, Settings(ridge=0.1))
completed = np.where(seen, truth, completion.block(slice(None)))
effects = fit_effects(i, j, truth[seen], truth.shape, ridge=0.1).at(*np.nonzero(~seen))


def decibels(guess):
    """Peak signal-to-noise ratio on the pixels that were gone."""
    return -10 * np.log10(np.mean((guess - truth[~seen]) ** 2))


print(f"mean gray:               {decibels(truth[seen].mean()):.1f} dB")
print(f"row and column effects:  {decibels(effects):.1f} dB")
print(f"early-stopped descent:   {decibels(completed[~seen]):.1f} dB, {completion.n_iter} steps")

# %%
gray = mpl.colormaps["gray"].with_extremes(bad=plotting.color_of("optimum"))
with plotting.figure(1, 3, width=13.0, height=3.4) as (figure, panels):
    for ax, picture, title in zip(panels, (given, completed, truth), ("given", "completed", "truth"), strict=True):
        ax.imshow(picture, cmap=gray, vmin=0, vmax=1)
        ax.set_title(title)
        ax.set_axis_off()
