"""How often the verdict on a winner is wrong, and how small a gain it still finds.

    python -m benchmarks.verdicts [--runs 1000] [--noise 0.02,0.1] [--rounds 2,3,5]

Each run is a whole task on an engine that is made up, so that the truth is known: `bayesian`
searches 40 configurations with 15 launches, its winner and the baseline are launched again in
turn, and `tuning/domain/verdict.py` judges. In the A/A test no flag does anything: every winner is
a false one. In the others the best value of each flag adds its share to a gain of known size.

Noise is log-normal and anew for each launch; `--drift` makes the machine slower from the first to
the last launch of the verification.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from random import Random

from benchmarks.replay.disturbances import measured
from tuning.domain.lifecycle import ExperimentStatus
from tuning.domain.metrics import Direction
from tuning.domain.parameters import Choices, Configuration
from tuning.domain.search.base import Trial
from tuning.domain.search.bayesian import BayesianSearch
from tuning.domain.space import ParameterSpace
from tuning.domain.verdict import Finding, GainVerdict, Round, judge_rounds

METRIC = "output_throughput_tokens_per_s"
BASELINE = 1000.0
"""Tokens/s of the engine with none of its flags set."""
LAUNCHES = 15
GAINS = (0.0, 0.02, 0.05, 0.1, 0.2)
"""Of the best configuration over the baseline. 0 is the A/A test."""
MOST_FALSE_WINNERS = 0.05


@dataclass(frozen=True)
class Setting:
    """`gain` of the best configuration; `noise` is the coefficient of variation of one launch;
    `drift` is the share of its speed that the machine loses during the verification."""

    gain: float
    noise: float
    rounds: int
    drift: float


@dataclass(frozen=True)
class Run:
    """The verdict on one winner and the gain that this winner really has."""

    verdict: GainVerdict
    truth: float


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    settings = [
        Setting(gain, noise, rounds, options.drift)
        for noise in options.noise
        for rounds in options.rounds
        for gain in GAINS
    ]
    print(f"{options.runs} runs of each line, drift {options.drift:.0%}\n")
    print(
        "| noise | rounds | best gain | better | worse | no difference | unstable "
        "| interval holds the truth |\n|--:|--:|--:|--:|--:|--:|--:|--:|"
    )
    worst = 0.0
    with ProcessPoolExecutor(options.jobs) as pool:
        for setting in settings:
            chunk = max(1, options.runs // (4 * options.jobs))
            runs = list(
                pool.map(one_run, [setting] * options.runs, range(options.runs), chunksize=chunk)
            )
            print(_line(setting, runs), flush=True)
            if setting.gain == 0:
                worst = max(worst, _share(runs, Finding.BETTER))
    word = "kept" if worst <= MOST_FALSE_WINNERS else "MISSED"
    print(
        f"\nFalse winners in the A/A test: {worst:.1%} at most; the bar of "
        f"{MOST_FALSE_WINNERS:.0%} is {word}."
    )
    return 0 if worst <= MOST_FALSE_WINNERS else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verdicts", description=__doc__)
    parser.add_argument("--runs", type=int, default=1000, help="tasks for each line")
    parser.add_argument(
        "--noise", type=_numbers, default=[0.02, 0.1], help="coefficients of variation"
    )
    parser.add_argument(
        "--rounds",
        type=lambda text: [int(part) for part in text.split(",")],
        default=[2, 3, 5],
        help="of verification",
    )
    parser.add_argument("--drift", type=float, default=0.0, help="share of speed that is lost")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    return parser


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


def one_run(setting: Setting, seed: int) -> Run:
    """Search, choose the winner by its noisy score, and launch it again against the baseline."""
    rng = Random(f"{setting}/{seed}")
    winner = _winner(setting, seed, rng)
    truth = _truth(winner, setting.gain)
    launches = 2 * setting.rounds
    slowed = iter(1 - setting.drift * place / max(launches - 1, 1) for place in range(launches))
    rounds = []
    for number in range(setting.rounds):
        values = {}
        for name in ("winner", "reference") if number % 2 == 0 else ("reference", "winner"):
            value = truth if name == "winner" else BASELINE
            values[name] = measured(value * next(slowed), setting.noise, rng)
        rounds.append(Round(**values))
    return Run(judge_rounds(METRIC, Direction.MAXIMIZE, rounds), truth / BASELINE - 1)


def _winner(setting: Setting, seed: int, rng: Random) -> Configuration:
    strategy = BayesianSearch(_space(), seed)
    history: list[Trial] = []
    for _ in range(LAUNCHES):
        (proposal,) = strategy.ask(history, 1)
        score = measured(_truth(proposal.parameters, setting.gain), setting.noise, rng)
        history.append(Trial(proposal.parameters, ExperimentStatus.SUCCESS, score, None, score))
    return max(history, key=lambda trial: trial.score or 0.0).parameters


def _space() -> ParameterSpace:
    flags = {
        "max-num-seqs": Choices((16, 32, 64, 128, 256)),
        "kv-cache-dtype": Choices(("auto", "fp8")),
        "block-size": Choices((8, 16, 32, 64)),
    }
    return ParameterSpace(flags, ())


def _truth(configuration: Configuration, gain: float) -> float:
    """Each flag at its best value adds the same share of the logarithm of the whole gain."""
    best = {"max-num-seqs": 128, "kv-cache-dtype": "fp8", "block-size": 32}
    hits = sum(configuration[flag] == value for flag, value in best.items())
    return BASELINE * math.exp(math.log1p(gain) * hits / len(best))


def _line(setting: Setting, runs: Sequence[Run]) -> str:
    shown = (Finding.BETTER, Finding.WORSE, Finding.NO_DIFFERENCE, Finding.UNSTABLE)
    shares = " | ".join(f"{_share(runs, finding):.1%}" for finding in shown)
    held = sum(_holds(run) for run in runs) / len(runs)
    return (
        f"| {setting.noise:.0%} | {setting.rounds} | {setting.gain:.0%} | {shares} | {held:.1%} |"
    )


def _share(runs: Sequence[Run], finding: Finding) -> float:
    return sum(run.verdict.finding is finding for run in runs) / len(runs)


def _holds(run: Run) -> bool:
    low, high = run.verdict.low, run.verdict.high
    return low is not None and high is not None and low <= run.truth <= high


if __name__ == "__main__":
    sys.exit(main())
