"""``undertow sweep`` and ``undertow status``: a grid of runs from a file, kept as it goes, and how far it is."""

import contextlib
import datetime as dt
import json
import math
import os
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from undertow.cli._errors import usage_errors

KEYS = ("run", "store", "over", "engine", "workers", "scheduler", "keep_samples")


def sweep(
    spec: Annotated[
        Path,
        typer.Argument(
            help='A TOML file: run = "package.module:function", store = "results.zarr", [over] with a list of values '
            "for each axis, or { stop = 100 } for 0, 1, ...; also engine, workers, scheduler, keep_samples."
        ),
    ],
    engine: Annotated[str | None, typer.Option(help="here, processes or dask; instead of what the file says.")] = None,
    workers: Annotated[int | None, typer.Option(help="How many processes; by default as many as cores.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="Address of a dask scheduler that runs.")] = None,
    repair: Annotated[bool, typer.Option(help="Run again what is lost or damaged in the store.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how many runs, and about how long by a trial of some; keep nothing.")
    ] = False,
) -> int:
    """Run what a store does not have of a grid; the function and the store are looked for in the file's folder."""
    with usage_errors(ValueError, TypeError, OSError):
        options = _read(spec)
        sys.path.insert(0, str(spec.resolve().parent))
        # Processes look for the function there, too.
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [sys.path[0], os.environ.get("PYTHONPATH")]))
        from undertow.sweeps import status
        from undertow.sweeps import sweep as swept
        from undertow.sweeps._points import imported
        from undertow.sweeps._stored import foreseen

        run, over, store = imported(options.pop("run")), options.pop("over"), spec.parent / options.pop("store")
        if dry_run:
            ahead = foreseen(run, over, store, options.get("keep_samples", True))
            typer.echo(f"{ahead.runs:,} runs, {ahead.there:,} of them in {store}")
            typer.echo(f"the others need {ahead.programs:,} programs")
            if ahead.there < ahead.runs:
                with contextlib.suppress(KeyboardInterrupt):  # who does not want to wait for a trial
                    seconds, how = ahead.seconds()
                    typer.echo(
                        "how long is not known: a run raises"
                        if seconds is None
                        else f"and about {dt.timedelta(seconds=math.ceil(seconds))} ({how})"
                    )
            return 0
        engine = engine or ("dask" if scheduler else None)
        given = {"engine": engine, "workers": workers, "scheduler": scheduler}
        options |= {name: value for name, value in given.items() if value is not None}
        try:
            found = swept(run, over, store=store, repair=repair, progress=True, **options)
        except KeyboardInterrupt:  # while it was planned, or a second time
            return _interrupted(spec, given)
        now = status(store)
    typer.echo(f"{store}: {now.done:,} done, {now.failed:,} failed, {now.left:,} left")
    if found.attrs["interrupted"]:
        return _interrupted(spec, given)
    for message in sorted({str(text) for text in found["message"].values.ravel() if str(text)})[:5]:
        sys.stderr.write(f"undertow: a run failed: {message}\n")
    return 1 if now.failed else 0


def _interrupted(spec: Path, given: dict[str, Any]) -> int:
    """Say how to go on."""
    options = [f"--{name}={value}" for name, value in given.items() if value is not None]
    command = shlex.join(["undertow", "sweep", str(spec), *options])
    sys.stderr.write(f"undertow: interrupted; what was done is kept, go on with: {command}\n")
    return 130


def status(
    store: Annotated[Path, typer.Argument(help="The folder that a sweep is kept in.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Print it once, on a terminal too.")] = False,
) -> int:
    """Say how many runs of a sweep are done, failed and left, and for how long.

    On a terminal a sweep that is running is shown until it ends or Ctrl-C.
    """
    with usage_errors(ValueError, OSError):
        from undertow.sweeps import status as status_of

        now = status_of(store)
        if now.running and (now.left or not now.planned) and sys.stdout.isatty() and not (once or as_json):
            from rich.console import Console

            from undertow.cli._live_status import watch

            watch(lambda: status_of(store), Console())
            return 0
    if as_json:
        counts = {"run": now.run, "done": now.done, "failed": now.failed, "left": now.left, "running": now.running}
        typer.echo(json.dumps(counts | {"runs_per_second": now.rate, "seconds_left": now.seconds_left}))
    else:
        share = f"{(now.done + now.failed) / now.planned:.0%} of the plan" if now.planned else "no plan yet"
        line = f"{now.run}: {now.done:,} done, {now.failed:,} failed, {now.left:,} left ({share})"
        if now.rate is not None and now.seconds_left:
            line += f", {now.rate:.3g} runs/s, about {dt.timedelta(seconds=round(now.seconds_left))} left"
        typer.echo(line)
    return 0


def _read(spec: Path) -> dict[str, Any]:
    """The file, checked."""
    import tomllib

    from undertow._validation import nearest

    try:
        found = tomllib.loads(spec.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{spec}: expected TOML, found an error in it ({error})") from error
    for name in found:
        if name not in KEYS:
            raise ValueError(f"{spec}: no setting {name!r}{nearest(name, KEYS)}; there are {', '.join(KEYS)}")
    for name, kind in (("run", str), ("store", str), ("over", dict)):
        if not isinstance(found.get(name), kind):
            raise ValueError(
                f"{spec}: expected {name} as a {'table' if kind is dict else 'text'}, found {found.get(name)!r}"
            )
    found["over"] = {name: _values(spec, name, values) for name, values in found["over"].items()}
    return found


def _values(spec: Path, name: str, values: Any) -> list[Any]:
    if isinstance(values, list):
        return values
    if isinstance(values, dict) and values.keys() <= {"start", "stop", "step"} and "stop" in values:
        numbers = [values.get("start", 0), values["stop"], values.get("step", 1)]
        if all(type(number) is int for number in numbers) and numbers[2] != 0:
            return list(range(*numbers))
    raise ValueError(
        f"{spec}: expected over.{name} as a list of values, or as {{ start = 0, stop = 9, step = 1 }}, found {values!r}"
    )
