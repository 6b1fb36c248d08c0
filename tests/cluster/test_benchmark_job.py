"""BenchmarkJobs, from the object to the metrics: genai-bench really runs, in a pod."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controllers.base import BenchmarkPlan, BenchmarkRun, Deployment, LogSink, PointResult
from controllers.cluster.benchmark_job import BenchmarkJob
from controllers.cluster.settings import ClusterSettings
from controllers.genai_bench.run import GenaiBench
from tests.cluster.cluster import Cluster
from tests.cluster.engines import claim, lay_tokenizer, plan, reached, running_service
from tests.cluster.objects import MODEL_PATH
from tests.services import wait_until
from tuning.domain.cluster_names import JOB_MODEL_NAME
from tuning.domain.failures import FailureKind
from tuning.domain.names import LogSource

pytestmark = pytest.mark.slow

STORAGE = "pvc://results/autotuner"


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def log(lines: list[str]) -> LogSink:
    def take(source: LogSource, line: str) -> None:
        assert source is LogSource.BENCHMARK
        lines.append(line)

    return take


@pytest.fixture
def settings(cluster: Cluster) -> ClusterSettings:
    return ClusterSettings(kubeconfig=str(cluster.kubeconfig))


@pytest.fixture
def deployment(cluster: Cluster, namespace: str, tokenizers: Path) -> Iterator[Deployment]:
    lay_tokenizer(cluster, tokenizers)
    claim(cluster, namespace, "results")
    identity = running_service(
        cluster, namespace, "--parallel", "8", "--served-model-name", JOB_MODEL_NAME
    )
    with reached(cluster, namespace, identity) as deployment:
        yield deployment


@pytest.fixture
def start(
    deployment: Deployment, settings: ClusterSettings, tmp_path: Path, log: LogSink
) -> Iterator[Callable[..., BenchmarkRun]]:
    runs: list[BenchmarkRun] = []

    def begin(plan: BenchmarkPlan, storage: str = STORAGE) -> BenchmarkRun:
        run = BenchmarkJob(settings, storage).start(deployment, plan, tmp_path / "work", log)
        runs.append(run)
        return run

    yield begin
    for run in runs:
        run.stop()


def finish(run: BenchmarkRun, within_s: float = 120) -> list[PointResult]:
    results = []
    deadline = time.monotonic() + within_s
    while True:
        finished = run.finished
        results += run.poll()
        if finished:
            return results
        assert time.monotonic() < deadline, run.phase
        time.sleep(0.1)


def left(cluster: Cluster, namespace: str) -> list[str]:
    """What is there beside the engine itself."""
    return [
        one
        for one in cluster.left_in(namespace)
        if one.startswith(("BenchmarkJob/", "Job/")) or ("Pod/" in one and "-engine-" not in one)
    ]


def test_a_job_measures_as_genai_bench_does_from_here(
    cluster: Cluster,
    namespace: str,
    deployment: Deployment,
    start: Callable[..., BenchmarkRun],
    lines: list[str],
    tmp_path: Path,
    log: LogSink,
    tokenizers: Path,
) -> None:
    run = start(plan(repeats=2))
    results = finish(run)
    assert run.failure is None
    assert {result.point for result in results} == set(plan(repeats=2).points())
    assert left(cluster, namespace) == []
    assert any("warm-up: 2 requests" in line for line in lines)
    assert any("Starting benchmark with concurrency" in line for line in lines)
    kept = sorted(path.name for path in (tmp_path / "work" / "results").iterdir())
    assert [name[:4] for name in kept] == ["000_", "001_", "002_", "003_", "expe"]
    measured = json.loads((tmp_path / "work" / "results" / kept[0]).read_text())
    assert measured["aggregated_metrics"]["num_completed_requests"] >= 4

    (tokenizer,) = (path for path in tokenizers.iterdir() if path.is_dir())
    here = GenaiBench().start(deployment, plan(tokenizer=str(tokenizer)), tmp_path / "here", log)
    direct: list[PointResult] = []
    try:
        here.measure(plan().points()[0])
        while not (here.is_idle or here.finished):
            direct += here.poll()
            time.sleep(0.1)
    finally:
        here.stop()
    assert here.failure is None
    for result in results:
        assert result.num_requests >= 4
        assert result.num_failed_requests == 0
        assert set(result.metrics) == set(direct[0].metrics)
        assert result.metrics["mean_output_tokens"] == direct[0].metrics["mean_output_tokens"]


def test_stopping_leaves_neither_job_nor_pod(
    cluster: Cluster, namespace: str, start: Callable[..., BenchmarkRun]
) -> None:
    run = start(plan(max_requests_per_point=100_000))
    wait_until(lambda: run.phase == "D(16,8) at concurrency 1", "the first load point", 60)
    run.stop()
    run.stop()
    assert run.finished
    assert run.failure is not None
    assert run.failure.message.startswith("The benchmark was stopped without a result for D(16,8)")
    assert left(cluster, namespace) == []


def test_a_job_without_a_claim_is_not_made(
    cluster: Cluster, namespace: str, start: Callable[..., BenchmarkRun]
) -> None:
    run = start(plan(), "pvc://elsewhere/autotuner")
    assert finish(run) == []
    assert run.failure is not None
    assert run.failure.kind is FailureKind.INVALID_SPEC
    assert "no PersistentVolumeClaim elsewhere in the namespace" in run.failure.message
    assert left(cluster, namespace) == []


def test_requests_that_fail_say_why(
    cluster: Cluster,
    namespace: str,
    deployment: Deployment,
    settings: ClusterSettings,
    tmp_path: Path,
    log: LogSink,
) -> None:
    identity = running_service(cluster, namespace, "--served-model-name", "other")
    with reached(cluster, namespace, identity) as other:
        run = BenchmarkJob(settings, STORAGE).start(other, plan(), tmp_path / "work", log)
        assert finish(run) == []
    assert run.failure is not None
    assert "x 404" in run.failure.message
    assert "The model vllm-model does not exist" in run.failure.message


def test_genai_benchs_own_words_say_why_it_failed(
    cluster: Cluster, namespace: str, start: Callable[..., BenchmarkRun]
) -> None:
    for place in cluster.node_file(MODEL_PATH):
        (place / "tokenizer.json").unlink()
        (place / "tokenizer_config.json").unlink(missing_ok=True)
    run = start(plan())
    assert finish(run) == []
    assert run.failure is not None
    assert run.failure.kind is FailureKind.BENCHMARK_FAILED
    assert "The BenchmarkJob failed" in run.failure.message
    assert "tokenizer" in run.failure.message
    assert left(cluster, namespace) == []


def test_an_image_that_can_not_be_pulled_is_said_at_once(
    cluster: Cluster,
    namespace: str,
    deployment: Deployment,
    settings: ClusterSettings,
    tmp_path: Path,
    log: LogSink,
) -> None:
    wrong = ClusterSettings(kubeconfig=settings.kubeconfig, benchmark_image="nowhere/bench:1")
    run = BenchmarkJob(wrong, STORAGE).start(deployment, plan(), tmp_path / "work", log)
    assert finish(run) == []
    assert run.failure is not None
    assert "its pod can't start" in run.failure.message
    assert "nowhere/bench:1" in run.failure.message
    assert left(cluster, namespace) == []


def test_what_a_killed_autotuner_left_goes_with_the_engine(
    cluster: Cluster, namespace: str, start: Callable[..., BenchmarkRun], deployment: Deployment
) -> None:
    start(plan(max_requests_per_point=100_000))
    name = deployment.identity.name
    wait_until(lambda: cluster.get("BenchmarkJob", name, namespace), "the job", 60)
    cluster.delete("InferenceService", name, namespace)
    wait_until(lambda: not cluster.left_in(namespace), "the end of all objects", 60)
