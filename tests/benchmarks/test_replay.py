"""The benchmark of the search strategies: records are read right, and replays count right."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from benchmarks.replay.contenders import CONTENDERS, OwnStrategy
from benchmarks.replay.disturbances import Disturbances, noisy, with_failing_region
from benchmarks.replay.family import Family, Half, Outcome, family_of
from benchmarks.replay.report import Comparison
from benchmarks.replay.session import Contender, Result, Rules, replay
from benchmarks.replay.sources import load_families
from benchmarks.search import main
from tests.benchmarks.grids import THROUGHPUT, grid
from tuning.domain.failures import FailureKind
from tuning.domain.metrics import Direction
from tuning.domain.names import FlagValue
from tuning.domain.parameters import Configuration
from tuning.domain.search.base import Trial
from tuning.domain.space import configuration_hash

PUBLIC_DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "replay"


def family(direction: Direction = Direction.MAXIMIZE) -> Family:
    """40 configurations; only batch 16 is within 5 % of the best, only with cache b within 2 %."""
    records: list[tuple[dict[str, FlagValue], Outcome]] = []
    for batch in (1, 2, 4, 8, 16):
        for threads in (1, 2, 3, 4):
            for cache in ("a", "b"):
                speed = 10.0 * batch + threads + (5 if cache == "b" else 0)
                flags: dict[str, FlagValue] = {
                    "batch": batch,
                    "threads": threads,
                    "cache": cache,
                    "same": 1,
                }
                value = speed if direction is Direction.MAXIMIZE else 1 / speed
                records.append((flags, Outcome(value, gpu_s=2.0)))
    return family_of("test", "system", "load", direction, records)


class InOrder:
    """Launches the configurations of a family from the first to the last."""

    def __init__(self, family: Family) -> None:
        self._left = iter(family.configurations)

    def next(self, history: list[Trial]) -> Configuration | None:
        return next(self._left, None)


def in_order(family: Family, seed: int) -> Contender:
    return InOrder(family)


class TestFamily:
    def test_flags_that_never_change_are_no_flags(self) -> None:
        assert family().space.tuned == ("batch", "threads", "cache")

    @pytest.mark.parametrize("direction", list(Direction))
    def test_the_shortfall_is_relative_to_the_best(self, direction: Direction) -> None:
        record = family(direction)
        shortfalls = sorted(record.shortfall(outcome) for outcome in record.outcomes.values())
        assert shortfalls[0] == 0
        assert shortfalls[-1] > 0.5
        assert record.share_within(0.02) == pytest.approx(4 / 40)

    def test_what_failed_is_never_good(self) -> None:
        failed = Outcome(1e9, 1.0, FailureKind.SLO_VIOLATED)
        assert family().shortfall(failed) == float("inf")

    def test_only_what_was_recorded_is_in_the_space(self) -> None:
        space = family().space
        assert space.contains({"batch": 16, "threads": 1, "cache": "a"})
        assert not space.contains({"batch": 3, "threads": 1, "cache": "a"})
        assert len(space.listing()) == 40


class TestReplay:
    def test_launches_and_costs_are_counted_until_each_goal(self) -> None:
        result = replay(family(), "order", in_order, seed=0, rules=Rules(budget=100))
        order = [family().outcome(one) for one in family().configurations]
        expected = 1 + next(
            place for place, one in enumerate(order) if family().shortfall(one) <= 0.05
        )
        assert result.launches["0.05"] == expected
        assert result.gpu_s["0.05"] == 2.0 * expected
        assert result.failed_share == 0

    def test_a_goal_that_is_not_reached_is_none(self) -> None:
        result = replay(family(), "order", in_order, seed=0, rules=Rules(budget=3))
        assert result.launches == {"0.05": None, "0.02": None}
        assert result.gpu_s_spent == 6.0

    def test_proposing_twice_is_an_error(self) -> None:
        class Twice:
            def next(self, history: list[Trial]) -> Configuration | None:
                return family().configurations[0]

        with pytest.raises(ValueError, match="twice"):
            replay(family(), "twice", lambda one, seed: Twice(), 0, Rules(budget=5))

    def test_noise_changes_what_is_told_and_not_what_counts(self) -> None:
        told: list[float] = []

        class Noting(InOrder):
            def next(self, history: list[Trial]) -> Configuration | None:
                told[:] = [trial.score or 0.0 for trial in history]
                return super().next(history)

        rules = Rules(budget=100, disturbances=Disturbances(noise_cv=0.1))
        result = replay(family(), "noting", lambda one, seed: Noting(one), 0, rules)
        plain = replay(family(), "order", in_order, 0, Rules(budget=100))
        assert result.launches == plain.launches
        true = [family().outcome(one).value for one in family().configurations[: len(told)]]
        assert told != true

    @pytest.mark.parametrize("strategy", ["grid", "random", "bayesian"])
    def test_every_own_strategy_finds_the_best(self, strategy: str) -> None:
        result = replay(family(), strategy, CONTENDERS[strategy], 1, Rules(budget=40))
        assert result.launches["0.02"] is not None

    @pytest.mark.parametrize("strategy", ["tpe", "tpe-multivariate", "plain-gp"])
    def test_every_peer_finds_the_best(self, strategy: str) -> None:
        pytest.importorskip("optuna")
        pytest.importorskip("sklearn")
        result = replay(family(), strategy, CONTENDERS[strategy], 1, Rules(budget=40))
        assert result.launches["0.02"] is not None


class TestDisturbances:
    def test_about_the_wanted_share_fails_and_the_best_does_not(self) -> None:
        shares = []
        for seed in range(20):
            disturbed, region = with_failing_region(family(), 0.1, Random(seed))
            shares.append(len(region) / 40)
            assert disturbed.best == family().best
            assert all(disturbed.outcomes[key].failure for key in region)
        assert 0.05 <= sum(shares) / len(shares) <= 0.2

    def test_the_mean_of_noise_is_the_value(self) -> None:
        rng = Random(0)
        values = [noisy(Outcome(100.0, 1.0), 0.1, rng).value or 0.0 for _ in range(2_000)]
        assert sum(values) / len(values) == pytest.approx(100, rel=0.02)

    def test_launches_into_the_region_are_counted_from_the_third_on(self) -> None:
        rules = Rules(budget=40, disturbances=Disturbances(0.1), to_the_end=True)
        result = replay(family(), "order", in_order, 0, rules)
        _, region = with_failing_region(family(), 0.1, Random(f"{family().name}/0"))
        launched = [configuration_hash(one) for one in family().configurations[:20]]
        inside = sum(key in region for key in launched)
        assert result.budget == 20
        assert result.repeated_failures == max(0, inside - 2) / 20


def result_of(strategy: str, launches: int, seed: int = 0) -> Result:
    goals: dict[str, int | None] = {"0.05": launches, "0.02": None}
    spent: dict[str, float | None] = {"0.05": 2.0 * launches, "0.02": None}
    return Result(family().name, strategy, seed, 40, goals, spent, 80.0, 0.0, 0.0, 0.01)


class TestComparison:
    RESULTS = [
        *(result_of("tpe", launches, seed) for seed, launches in enumerate((10, 20))),
        *(result_of("random", launches, seed) for seed, launches in enumerate((30, 10))),
        *(result_of("bayesian", launches, seed) for seed, launches in enumerate((4, 8))),
    ]

    def test_ratios_are_of_means(self) -> None:
        comparison = Comparison(self.RESULTS, [family()])
        assert comparison.ratios("bayesian", "tpe", 0.05, None) == [6 / 15]
        assert comparison.mean_launches(family().name, "random", 0.02) == 40

    def test_the_verdict_names_each_bar(self) -> None:
        verdict = Comparison(self.RESULTS, [family()]).verdict(None)
        assert "bayesian / tpe: 0.40" in verdict
        assert "bayesian / tpe, the best other strategy over all families: 0.40" in verdict
        assert "worse than random on 0 families" in verdict

    def test_families_worse_than_random_are_named(self) -> None:
        results = [
            *(one for one in self.RESULTS if one.strategy != "bayesian"),
            *(result_of("bayesian", 35, seed) for seed in range(2)),
        ]
        verdict = Comparison(results, [family()]).verdict(None)
        assert "worse than random on 1 families; test/system@load by 15.0" in verdict


def own_grid(folder: Path) -> None:
    kept = grid(objectives=(THROUGHPUT,), system="two-cores")
    (folder / "two-cores.grid.json").write_text(kept.as_text(), encoding="utf-8")


class TestSources:
    def test_a_folder_without_records_is_an_error_that_names_what_is_known(
        self, tmp_path: Path
    ) -> None:
        with pytest.raises(FileNotFoundError, match=r"silicon.*grid\.json"):
            load_families(tmp_path)

    def test_own_grids_are_read_with_their_failures(self, tmp_path: Path) -> None:
        own_grid(tmp_path)
        (read,) = load_families(tmp_path)
        assert read.name == "own/two-cores@output_throughput_tokens_per_s"
        assert read.best == 33
        assert read.failing_share == pytest.approx(1 / 12)

    def test_kernel_caches_are_read_with_failures_and_durations(self, tmp_path: Path) -> None:
        (tmp_path / "benchmark_hub").mkdir()
        times = {1: 5.0, 2: 4.0, 3: "CompilationFailedConfig", 4: "RuntimeFailedConfig"}
        cache = {
            str(size): {
                "block_size": size,
                "time": time,
                "compile_time": 1500.0,
                "verification_time": 0,
                "benchmark_time": 500.0,
            }
            for size, time in times.items()
        }
        document = {"tune_params_keys": ["block_size"], "cache": cache}
        path = tmp_path / "benchmark_hub" / "copy_milo_A100.json.gz"
        path.write_bytes(gzip.compress(json.dumps(document).encode()))
        (read,) = load_families(tmp_path)
        assert read.name == "kernels/copy-A100@recorded"
        assert read.direction is Direction.MINIMIZE
        assert read.best == 4.0
        assert Counter(one.failure for one in read.outcomes.values()) == {
            None: 2,
            FailureKind.BAD_FLAG: 1,
            FailureKind.CRASHED: 1,
        }
        assert all(one.gpu_s == 2.0 for one in read.outcomes.values())

    @pytest.mark.skipif(not PUBLIC_DATA.is_dir(), reason="the public data sets are not here")
    def test_the_public_data_sets_give_families_of_every_source_on_both_halves(self) -> None:
        families = load_families(PUBLIC_DATA)
        names = [one.name for one in families]
        assert len(set(names)) == len(names)
        assert {one.source for one in families} == {
            "silicon",
            "inference-bench",
            "vllm-studies",
            "kernels",
        }
        halves = Counter(one.half for one in families)
        assert min(halves.values()) > 0.3 * len(families)
        assert {one.half for one in families} == set(Half)
        assert all(one.share_within(0.0) > 0 for one in families)


def test_the_command_prints_a_table_and_writes_every_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own_grid(tmp_path)
    written = tmp_path / "results.json"
    options = ["--data", str(tmp_path), "--seeds", "2", "--jobs", "1", "--json", str(written)]
    assert main([*options, "--strategies", "random,bayesian"]) == 0
    printed = capsys.readouterr().out
    assert "| own/two-cores@output_throughput_tokens_per_s | 12 |" in printed
    assert len(json.loads(written.read_text(encoding="utf-8"))) == 4


def test_unknown_strategies_and_families_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own_grid(tmp_path)
    assert main(["--data", str(tmp_path), "--strategies", "annealing"]) == 2
    assert "annealing" in capsys.readouterr().err
    assert main(["--data", str(tmp_path), "--families", "nothing*"]) == 2
    assert "No family" in capsys.readouterr().err


def test_own_strategies_are_asked_for_one_launch_at_a_time() -> None:
    class Noting:
        asked: list[int] = []

        def ask(self, history: object, n: int) -> list[object]:
            self.asked.append(n)
            return []

    noting = Noting()
    assert OwnStrategy(noting).next([]) is None  # type: ignore[arg-type]
    assert noting.asked == [1]
