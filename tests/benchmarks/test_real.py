"""The real run, without the run: what may stand for it, and how its result is judged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks.real import WrongGrid, fitting_grid, main
from benchmarks.real_run.report import BASELINE, BAYESIAN, EXHAUSTIVE, Outcome
from benchmarks.real_run.searches import LaunchedAgain, Search, is_as_good, search_of_grid
from benchmarks.real_run.tasks import (
    TRAFFICS,
    bayesian_task,
    exhaustive_task,
    single_task,
)
from tests.benchmarks.grids import LATENCY, crashed, grid
from tuning.domain.names import FlagValue
from tuning.domain.planning import plan
from tuning.domain.spec import parse_task
from tuning.domain.verdict import Finding

OBJECTIVE = LATENCY.as_objective()
FAST: Mapping[str, FlagValue] = {"threads": 2, "parallel": 4}
SLOW: Mapping[str, FlagValue] = {"threads": 1, "parallel": 4}
DEFAULT: Mapping[str, FlagValue] = {}


class TestTasks:
    @pytest.mark.parametrize("traffic", list(TRAFFICS))
    def test_both_searches_have_the_same_space_and_traffic(self, traffic: str) -> None:
        exhaustive = parse_task(exhaustive_task(traffic))
        bayesian = parse_task(bayesian_task(traffic, 12, seed=3))
        assert exhaustive.parameters == bayesian.parameters
        assert exhaustive.benchmark == bayesian.benchmark
        assert exhaustive.objective == bayesian.objective
        assert len(plan(exhaustive).configurations) >= 37

    def test_a_single_configuration_is_a_task(self) -> None:
        spec = parse_task(single_task({"threads": 2, "ctx-size": 4096}, "chat"))
        assert plan(spec).configurations == ({"threads": 2, "ctx-size": 4096},)


class TestRecordedGrid:
    def recorded(self, folder: Path, **changed: Any) -> Path:
        path = folder / "here.grid.json"
        path.write_text(grid(**changed).as_text(), encoding="utf-8")
        return path

    def test_one_of_this_machine_and_task_stands_for_the_run(self, tmp_path: Path) -> None:
        assert fitting_grid(self.recorded(tmp_path), "chat") == grid()

    def test_one_of_another_machine_does_not(self, tmp_path: Path) -> None:
        other = grid().machine.model_copy(update={"cores": 4096})
        with pytest.raises(WrongGrid, match="4096 cores, and this is"):
            fitting_grid(self.recorded(tmp_path, machine=other), "chat")

    def test_one_of_another_traffic_does_not(self, tmp_path: Path) -> None:
        with pytest.raises(WrongGrid, match=r"with benchmark .*D\(16,12\).*--traffic documents"):
            fitting_grid(self.recorded(tmp_path), "documents")

    def test_its_best_is_the_winner_and_its_time_the_wall_time(self) -> None:
        search = search_of_grid("grid", grid(), OBJECTIVE)
        assert search is not None
        assert search.winner == {"threads": 3, "batch": 3}
        assert search.value == pytest.approx(10 / 33)
        assert (search.wall_s, search.launches, search.loads) == (130.0, 13, 36)

    def test_one_in_which_all_failed_has_no_winner(self) -> None:
        failed = grid(baseline=None, configurations=(crashed(threads=1),))
        assert search_of_grid("grid", failed, OBJECTIVE) is None


class FakeEngine:
    """Launches what it is told; each value drifts, as on a machine that gets slower."""

    def __init__(self, values: Mapping[FlagValue, float | None]) -> None:
        self._values = values
        self.launched: list[Mapping[str, FlagValue]] = []

    def launch(self, parameters: Mapping[str, FlagValue]) -> float | None:
        self.launched.append(parameters)
        value = self._values[parameters.get("threads", 0)]
        return None if value is None else value * 1.001 ** len(self.launched)


class TestLaunchedAgain:
    def test_in_turn_there_and_back_again(self) -> None:
        engine = FakeEngine({0: 1.5, 1: 2.0, 2: 1.0})
        again = LaunchedAgain({EXHAUSTIVE: FAST, BAYESIAN: SLOW, BASELINE: DEFAULT}, OBJECTIVE)
        again.launch(2, engine.launch)
        assert engine.launched == [FAST, SLOW, DEFAULT, DEFAULT, SLOW, FAST]

    def test_a_configuration_of_two_names_is_launched_once(self) -> None:
        engine = FakeEngine({0: 1.5, 2: 1.0})
        same = {"parallel": 4, "threads": 2}
        again = LaunchedAgain({EXHAUSTIVE: FAST, BAYESIAN: same, BASELINE: DEFAULT}, OBJECTIVE)
        again.launch(2, engine.launch)
        assert len(engine.launched) == 4
        assert again.verdict(BAYESIAN, EXHAUSTIVE) is None
        found = again.verdict(BAYESIAN, BASELINE)
        assert found is not None
        assert found.finding is Finding.BETTER

    @pytest.mark.parametrize(
        ("bayesian", "finding", "good"),
        [
            (1.0, Finding.NO_DIFFERENCE, True),
            (0.5, Finding.BETTER, True),
            (2.0, Finding.WORSE, False),
            (None, Finding.UNSTABLE, False),
        ],
    )
    def test_as_good_is_no_difference_or_better(
        self, bayesian: float | None, finding: Finding, good: bool
    ) -> None:
        engine = FakeEngine({0: 1.5, 1: bayesian, 2: 1.0})
        again = LaunchedAgain({EXHAUSTIVE: FAST, BAYESIAN: SLOW, BASELINE: DEFAULT}, OBJECTIVE)
        again.launch(4, engine.launch)
        found = again.verdict(BAYESIAN, EXHAUSTIVE)
        assert found is not None
        assert found.finding is finding
        assert is_as_good(found) is good


def outcome(*, configurations: int = 54, wall_s: float = 100.0, slow: float = 1.0) -> Outcome:
    again = LaunchedAgain({EXHAUSTIVE: FAST, BAYESIAN: SLOW, BASELINE: DEFAULT}, OBJECTIVE)
    again.launch(2, FakeEngine({0: 1.5, 1: slow, 2: 1.0}).launch)
    return Outcome(
        OBJECTIVE,
        configurations,
        Search("grid_search, pruning off", 600.0, configurations + 1, 0, 165, FAST, 0.98),
        Search("bayesian, pruning safe", wall_s, 13, 7, 25, SLOW, 0.99),
        again,
    )


class TestOutcome:
    def test_both_searches_and_all_bars_are_printed(self) -> None:
        text = outcome().as_text()
        assert (
            "| bayesian, pruning safe | 13 | 7 | 25 | 100 s | threads=1 parallel=4 | 990 ms |"
            in text
        )
        assert "wall time, exhaustive / bayesian: 6.0 (at least 5): kept" in text
        assert "no difference (95 % CI" in text
        assert "MISSED" not in text
        assert outcome().keeps_the_bars

    @pytest.mark.parametrize(
        "missed", [{"configurations": 35}, {"wall_s": 121.0}, {"slow": 1.1}], ids=str
    )
    def test_each_bar_can_be_missed(self, missed: dict[str, Any]) -> None:
        failed = outcome(**missed)
        assert not failed.keeps_the_bars
        assert failed.as_text().count("MISSED") == 1


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "named"),
        [
            (["--max-iterations", "0"], "--max-iterations 0"),
            (["--rounds", "1"], "at least 2"),
            (["--record", "here.json"], r"NAME.grid.json"),
            (["--record", "no-such-folder/here.grid.json"], "no-such-folder"),
            (["--record", "a.grid.json", "--grid", "b.grid.json"], "not allowed with"),
            (["--traffic", "mail"], "mail"),
        ],
    )
    def test_what_makes_no_sense_is_refused_before_anything_runs(
        self, options: list[str], named: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as exit:
            main(options)
        assert exit.value.code == 2
        assert named in capsys.readouterr().err

    def test_a_grid_that_is_not_there_is_named(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["--grid", str(tmp_path / "none.grid.json")]) == 2
        assert "none.grid.json" in capsys.readouterr().err
