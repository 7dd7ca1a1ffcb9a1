"""The figures of the study of the MovieLens tables."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ... import plotting

SHARES = {0.9: ("train", 0.16), 0.8: ("test", -0.16)}
"""Color and place of each share of known ratings."""


def figures(data: xr.Dataset) -> dict[str, Figure]:
    """What was measured beside what the source states, and what others published."""
    return {"table": _table(data), "published": _others(data)}


def _table(data: xr.Dataset) -> Figure:
    names = data["row"].values[::-1]
    with plotting.figure(
        width=12,
        height=0.42 * len(names) + 1.5,
        caption="Root-mean-square error on the test ratings, predictions clamped to 1 .. 5: means over the splits, and "
        "ranges; strokes: not clamped. Diamonds: what the source states for a row of this model, optimizer and "
        f"penalty, on the whole table; here: {data.attrs['table']}.",
    ) as (made, ax):
        for share in data["share"].values:
            role, shift = SHARES[float(share)]
            color, height = plotting.color_of(role), np.arange(len(names)) + shift
            part = data.sel(share=share, row=names)
            means = part["clamped"].mean("split").values
            ends = [means - part["clamped"].min("split").values, part["clamped"].max("split").values - means]
            known = f"{share:.0%} known"
            ax.errorbar(means, height, xerr=ends, fmt="o", markersize=5, color=color, label=known)
            ax.plot(part["error"].mean("split"), height, "|", markersize=9, color=color, label=f"{known}, not clamped")
            ax.plot(part["published"], height, "D", mfc="none", color=color, label=f"{known}, as published")
        ax.set_xscale("log")
        ticks = [0.8, 0.9, 1.0, 1.2, 1.5, 2.0, 2.8, 3.7]
        ax.set(xlabel="test error (RMSE)", yticks=np.arange(len(names)), xticks=ticks)
        ax.set_xticklabels([f"{tick:g}" for tick in ticks])
        ax.set_yticklabels(names, fontsize=10)
        ax.minorticks_off()
        ax.legend(loc="lower right", ncols=2, fontsize=10)
    return made


def _others(data: xr.Dataset) -> Figure:
    splits = list(dict.fromkeys(data["other_split"].values.tolist()))
    order = np.argsort([splits.index(split) for split in data["other_split"].values.tolist()], kind="stable")[::-1]
    with plotting.figure(
        width=12,
        height=10,
        caption="Errors that others published, not measured here, by the ratings that they held out; numbers on "
        "different ones do not compare. A: read in the source; B: quoted by the paper; C: from memory.",
    ) as (made, ax):
        for place, k in enumerate(order):
            split = str(data["other_split"].values[k])
            color = plotting.color_of(("test", "train", "theory")[splits.index(split) % 3])
            error = float(data["other_error"][k])
            ax.plot(error, place, "o", color=color)
            note = f"{error:g} ({data['other_confidence'].values[k]}, {split})"
            ax.annotate(note, (error, place), xytext=(8, 0), textcoords="offset points", va="center", fontsize=9)
        ax.set(xlabel="published test error (RMSE)", xscale="log", yticks=np.arange(len(order)))
        ax.set_xlim(0.86, 2.2)
        ticks = [0.9, 1.0, 1.2, 1.6]
        ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.set_yticklabels(data["other"].values[order], fontsize=10)
        ax.minorticks_off()
    return made
