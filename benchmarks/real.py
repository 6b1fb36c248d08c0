"""Exhaustive search against `bayesian` with pruning, with real engines on this machine.

    python -m benchmarks.real [--traffic chat] [--seed 0] [--max-iterations 12] [--rounds 5]
    python -m benchmarks.real --record benchmarks/data/NAME.grid.json
    python -m benchmarks.real --grid benchmarks/data/NAME.grid.json

Runs the same task twice through the product: orchestrator, local controller, llama.cpp's server
with the sample model, and genai-bench. First `grid_search` with pruning off measures every
configuration at every load; then `bayesian` with pruning `safe` searches the same space with
`--max-iterations` launches. Both measure the baseline as well, and neither verifies its winner.

Instead, both winners and the baseline are launched again in turn, `--rounds` times each, which
counts for neither search, and `tuning/domain/verdict.py` says how the winners differ. Exit status 1
when that of `bayesian` is not at least as good within noise, or when it did not take five times
less wall time.

`--record` keeps the exhaustive run as a grid that `benchmarks.search` and `benchmarks.pruning`
replay; `--grid` lets such a grid stand for it, with the wall time that it took. Everything happens
in a temporary installation, which is removed at the end, also after Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.real_run.installation import (
    Interrupted,
    Product,
    TaskFailed,
    temporary_installation,
)
from benchmarks.real_run.report import BASELINE, BAYESIAN, EXHAUSTIVE, Outcome
from benchmarks.real_run.searches import LaunchedAgain, search_of_grid, search_of_task
from benchmarks.real_run.tasks import TRAFFICS, bayesian_task, exhaustive_task, single_task
from benchmarks.replay.grid_file import (
    SUFFIX,
    Grid,
    UnreadableGrid,
    grid_of,
    read_grid,
    this_machine,
)
from controllers.sample_model import SampleModelError
from tuning.domain.names import FlagValue
from tuning.domain.spec import TaskSpec, parse_task
from tuning.domain.verdict import FEWEST_ROUNDS
from tuning.terminal.interrupts import Interrupts

EXIT_KEPT = 0
EXIT_MISSED = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130

COMPARED = ("model", "base_runtime", "parameters", "constraints", "benchmark", "slo")
"""What a recorded task has to have in common with the one that is run. Its objective is of no
matter: a grid has the values of all."""


class WrongGrid(Exception):
    """A grid that can't stand for the exhaustive run of this machine; the text says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    try:
        grid = None if options.grid is None else fitting_grid(options.grid, options.traffic)
        with Interrupts(on_request=_say_stopping) as interrupts, temporary_installation():
            outcome = _run(options, grid, Product(interrupts, _show_progress))
    except (UnreadableGrid, WrongGrid, OSError) as error:
        print(error, file=sys.stderr)
        return EXIT_BAD_INPUT
    except (SampleModelError, TaskFailed) as error:
        print(error, file=sys.stderr)
        return EXIT_MISSED
    except Interrupted:
        print("Interrupted. Nothing was left behind.", file=sys.stderr)
        return EXIT_INTERRUPTED
    print(f"\n{outcome.as_text()}")
    return EXIT_KEPT if outcome.keeps_the_bars else EXIT_MISSED


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.real",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--traffic", choices=list(TRAFFICS), default="chat", help="what is sent")
    parser.add_argument("--seed", type=int, default=0, help="of bayesian; a grid needs none")
    parser.add_argument(
        "--max-iterations", type=int, default=12, help="launches of bayesian beside the baseline"
    )
    parser.add_argument(
        "--rounds", type=int, default=5, help="how often winners and baseline are launched again"
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--record", type=Path, help=f"write the exhaustive run to NAME{SUFFIX}")
    source.add_argument("--grid", type=Path, help="a recorded grid stands for the exhaustive run")
    options = parser.parse_args(arguments)
    if options.max_iterations < 1:
        parser.error(f"--max-iterations {options.max_iterations}: at least 1 launch is needed")
    if options.rounds < FEWEST_ROUNDS:
        parser.error(f"--rounds {options.rounds}: a verdict takes at least {FEWEST_ROUNDS}")
    record: Path | None = options.record
    if record is not None and not (record.name.endswith(SUFFIX) and record.parent.is_dir()):
        parser.error(f"--record {record}: must be named NAME{SUFFIX}, in a folder that is there")
    return options


def fitting_grid(path: Path, traffic: str) -> Grid:
    """A grid that was recorded on a machine like this one, of the task that would be run.

    Raises:
        UnreadableGrid, FileNotFoundError: there is no grid.
        WrongGrid: it was measured elsewhere, or of something else; the first difference is named.
    """
    grid = read_grid(path)
    machine, here = grid.machine, this_machine()
    if (machine.processor, machine.cores) != (here.processor, here.cores):
        raise WrongGrid(
            f"--grid {path} was measured on {machine.processor} with {machine.cores} cores, and "
            f"this is {here.processor} with {here.cores}: leave it out, or --record one here."
        )
    wanted = _spec_of(traffic).to_document()
    for name in COMPARED:
        if grid.task.get(name) != wanted.get(name):
            raise WrongGrid(
                f"--grid {path} was measured with {name} {grid.task.get(name)}, and --traffic "
                f"{traffic} has {wanted.get(name)}: choose the other traffic, or --record one."
            )
    return grid


def _spec_of(traffic: str) -> TaskSpec:
    return parse_task(exhaustive_task(traffic))


def _run(options: argparse.Namespace, grid: Grid | None, product: Product) -> Outcome:
    """Raises TaskFailed, Interrupted, WrongGrid."""
    spec = _spec_of(options.traffic)
    _print_circumstances(spec, options, grid)
    # Whatever is loaded or compiled once only is nobody's time, and what can't run fails here.
    first = product.run(single_task(spec.space().baseline(), options.traffic)).best_experiment
    if grid is None:
        grid = _measured_grid(options, product)
    elif first is not None and first.environment["engine_version"] != grid.engine.version:
        raise WrongGrid(
            f"--grid {options.grid} was measured with {grid.engine.version}, and this is "
            f"{first.environment['engine_version']}: leave it out, or --record one here."
        )
    exhaustive = search_of_grid("grid_search, pruning off", grid, spec.objective)
    if exhaustive is None:
        raise WrongGrid(f"{grid.system} has no value of {spec.objective.metric}.")
    task = product.run(bayesian_task(options.traffic, options.max_iterations, options.seed))
    bayesian = search_of_task("bayesian, pruning safe", task)
    named = {EXHAUSTIVE: exhaustive.winner, BAYESIAN: bayesian.winner}
    again = LaunchedAgain({**named, BASELINE: spec.space().baseline()}, spec.objective)
    again.launch(options.rounds, lambda one: _launched(one, options.traffic, product))
    return Outcome(spec.objective, len(grid.configurations), exhaustive, bayesian, again)


def _measured_grid(options: argparse.Namespace, product: Product) -> Grid:
    record: Path | None = options.record
    name = options.traffic if record is None else record.name.removesuffix(SUFFIX)
    grid = grid_of(product.run(exhaustive_task(options.traffic)), name)
    if record is not None:
        record.write_text(grid.as_text(), encoding="utf-8")
    return grid


def _launched(parameters: Mapping[str, FlagValue], traffic: str, product: Product) -> float | None:
    try:
        best = product.run(single_task(parameters, traffic)).best_experiment
    except TaskFailed:
        return None
    return None if best is None else best.objective_value


def _print_circumstances(spec: TaskSpec, options: argparse.Namespace, grid: Grid | None) -> None:
    here, benchmark = this_machine(), spec.benchmark
    print(
        f"{spec.model.id_or_path} on {here.processor}, {here.cores} cores, with a load of "
        f"{os.getloadavg()[0]:.1f} before; {', '.join(benchmark.traffic_scenarios)} at concurrency "
        f"{', '.join(map(str, benchmark.num_concurrency))}; seed {options.seed}"
    )
    if grid is not None:
        print(f"The exhaustive run is {options.grid} of {grid.recorded_on}.")


def _show_progress(task: str, begun: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{task}: experiment {begun}\033[K", end="", file=sys.stderr)


def _say_stopping() -> None:
    print("\nStopping: the engine is being removed.", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
