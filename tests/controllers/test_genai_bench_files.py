"""Which of the files that genai-bench writes are results of the point that was asked for."""

from __future__ import annotations

from pathlib import Path

from controllers.base import LoadPoint, PointResult
from controllers.genai_bench.run import GenaiBench, GenaiBenchRun
from tests.controllers.genai_bench_plans import at, plan
from tests.controllers.genai_bench_runs import Log, nothing_is_left

__all__ = ["nothing_is_left"]


def files_are_collected(run: GenaiBenchRun, workdir: Path, content: str) -> list[PointResult]:
    folder = workdir / "scratch" / "experiment"
    folder.mkdir(exist_ok=True)
    (folder / "D16_8_text-to-text_num_concurrency_1_time_1s.json").write_text(content)
    return run.poll()


def test_files_that_are_incomplete_or_of_no_use_are_no_results(tmp_path: Path) -> None:
    sample = (Path(__file__).with_name("data") / "genai_bench_result.json").read_text()
    workdir, log = tmp_path / "work", Log()
    run = GenaiBench().start(at("http://127.0.0.1:9"), plan(), workdir, log)
    try:
        run.measure(LoadPoint("D(16,8)", 1, repeat=1))
        assert files_are_collected(run, workdir, sample[:1000]) == []
        assert log.lines == []
        assert files_are_collected(run, workdir, sample.replace('"s"', '"ms"')) == []
        assert "000_D16_8_text-to-text_num_concurrency_1_time_1s.json is ignored" in log.lines[-1]
        assert files_are_collected(run, workdir, sample.replace("D(16,8)", "D(9,9)")) == []
        assert "was not asked for" in log.lines[-1]
        (result,) = files_are_collected(run, workdir, sample)
        assert result.point == LoadPoint("D(16,8)", 1, repeat=1)
        assert run.is_idle
        assert files_are_collected(run, workdir, sample) == []
        assert "was not asked for" in log.lines[-1]
        assert run.failure is None
    finally:
        run.stop()
