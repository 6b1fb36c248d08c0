"""Measures an engine with genai-bench in its own cluster, by BenchmarkJobs of OME.

One job measures one repeat of all load points, since genai-bench names its files by scenario,
concurrency and seconds, which repeats may share.
"""

from __future__ import annotations

import json
import logging
import secrets
import shutil
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from kubernetes.client import ApiClient

from controllers.base import (
    BenchmarkPlan,
    Deployment,
    DeploymentError,
    LoadPoint,
    LogSink,
    PointResult,
)
from controllers.cluster.connection import ClusterUnavailable, api_client, asking
from controllers.cluster.job_plan import owner_of, plan_job, plan_reader
from controllers.cluster.job_results import ResultsReader, ResultsUnreadable
from controllers.cluster.manifests import Manifests, UnrenderableValue
from controllers.cluster.objects import (
    BASE_MODEL,
    CLAIM,
    CLUSTER_BASE_MODEL,
    INFERENCE_SERVICE,
    POD,
    Document,
    ObjectKind,
    find,
    list_objects,
)
from controllers.cluster.readings import SERVICE_LABEL
from controllers.cluster.settings import ClusterSettings
from controllers.cluster.watched_job import JobReading, JobState, WatchedJob
from controllers.genai_bench.failure import describe_failed_requests, describe_point, missing_points
from controllers.genai_bench.output import Output, Redactor
from controllers.genai_bench.results import parse_result
from controllers.genai_bench.run import RESULTS_FOLDER, empty_directory
from controllers.genai_bench.warmup import WarmUp
from tuning.domain.cluster_names import ClaimFolder, claim_folder
from tuning.domain.failures import Failure, FailureKind
from tuning.domain.names import LogSource

logger = logging.getLogger(__name__)

_LOOK_S = 0.5
_STOPPING_S = 45.0
_SCRATCH_FOLDER = "scratch"
_METADATA_FILE = "experiment_metadata.json"
_DEBUG_PREFIX = "debug_"


class _Stopped(Exception):
    """Somebody has called `stop`."""


class BenchmarkJob:
    """Measures engines by BenchmarkJobs.

    `results_storage` is `pvc://<claim>/<folder>`, the claim in the engines' own namespace.

    Raises:
        ValueError: `results_storage` is something else.
    """

    def __init__(self, settings: ClusterSettings, results_storage: str) -> None:
        self._settings = settings
        self._storage = claim_folder(results_storage)

    def start(
        self, deployment: Deployment, plan: BenchmarkPlan, workdir: Path, log: LogSink
    ) -> BenchmarkJobRun:
        """Begin with the warm-up, which is sent from here; returns at once.

        Raises:
            OSError: `workdir` can't be written to.
        """
        return BenchmarkJobRun(self._settings, self._storage, deployment, plan, workdir, log)


class BenchmarkJobRun:
    """One job for each repeat: a `BenchmarkRun`. Its methods may be called from any thread."""

    def __init__(
        self,
        settings: ClusterSettings,
        storage: ClaimFolder,
        deployment: Deployment,
        plan: BenchmarkPlan,
        workdir: Path,
        log: LogSink,
    ) -> None:
        self._settings = settings
        self._storage = storage
        self._deployment = deployment
        self._plan = plan
        self._log = log
        self._manifests = Manifests(settings.templates_dir)
        self._lock = threading.Lock()
        self._fresh: list[PointResult] = []
        self._missing = plan.points()
        self._failure: Failure | None = None
        self._finished = False
        self._stopping = threading.Event()
        self._warm = threading.Event()
        self._phase = "warm-up"
        self._output = Output(Redactor(None))
        empty_directory(workdir)
        self._results, self._scratch = workdir / RESULTS_FOLDER, workdir / _SCRATCH_FOLDER
        self._results.mkdir(parents=True)
        self._warm_up = WarmUp(deployment.base_url, plan, None, self._report, then=self._warm.set)
        self._thread = threading.Thread(
            target=self._run, name=f"benchmark job {deployment.identity.name}", daemon=True
        )
        self._thread.start()

    def poll(self) -> list[PointResult]:
        with self._lock:
            fresh, self._fresh = self._fresh, []
            return fresh

    @property
    def phase(self) -> str:
        return "finished" if self._finished else self._phase

    @property
    def finished(self) -> bool:
        return self._finished

    @property
    def failure(self) -> Failure | None:
        return self._failure

    def stop(self) -> None:
        """End the measurement; returns once the job, its pods and the reader's pod are gone.

        Where the API server is away, that is given up: they go with the InferenceService.
        """
        self._stopping.set()
        self._warm_up.cancel()
        if self._thread is not threading.current_thread():
            self._thread.join(_STOPPING_S)

    # --- The thread ---

    def _run(self) -> None:
        try:
            self._measure()
        except _Stopped:
            self._failure = self._missing_points("The benchmark was stopped")
        except DeploymentError as error:
            self._failure = error.failure
        except ClusterUnavailable as error:
            self._failure = Failure(FailureKind.CLUSTER_UNAVAILABLE, str(error))
        except (ResultsUnreadable, UnrenderableValue, OSError) as error:
            self._failure = Failure(FailureKind.BENCHMARK_FAILED, str(error))
        except Exception as error:
            logger.exception("A BenchmarkJob's run broke off")
            message = f"The benchmark broke off: {type(error).__name__}: {error}"
            self._failure = Failure(FailureKind.INTERNAL_ERROR, message)
        finally:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._finished = True

    def _measure(self) -> None:
        while not self._warm.wait(_LOOK_S):
            self._stop_if_asked()
        client = api_client(self._settings)
        for repeat in range(self._plan.repeats):
            self._stop_if_asked()
            self._measure_once(client, repeat)

    def _measure_once(self, client: ApiClient, repeat: int) -> None:
        """One repeat of all load points.

        Raises:
            DeploymentError: the cluster refuses something, or a load point has no result.
            ResultsUnreadable: the job has ended, and its results can't be had.
        """
        service = self._service(client)
        folder = f"{service['metadata']['name']}-r{repeat}-{secrets.token_hex(4)}"
        job = self._job(client, service, folder)
        self._output = Output(Redactor(None))
        try:
            job.make()
            reading = self._await_end(job, repeat)
            job.await_log()
            files = self._files(client, service, folder, repeat, reading)
        finally:
            self._phase = "the BenchmarkJob is deleted"
            job.remove()
        self._collect(files, repeat)
        unmeasured = [point for point in self._missing if point.repeat == repeat]
        if unmeasured:
            how = "The BenchmarkJob has ended"
            if reading.state is JobState.FAILED:
                how = f"The BenchmarkJob failed: {reading.reason};"
            failure = self._missing_points(how, self._reasons(files))
            assert failure is not None
            raise DeploymentError(failure.kind, failure.message)

    def _job(self, client: ApiClient, service: Document, folder: str) -> WatchedJob:
        model = self._model(client, service)
        self._check_claim(client, service["metadata"]["namespace"])
        document = plan_job(
            self._plan,
            service,
            model,
            self._engine_pod(client, service),
            self._storage,
            folder,
            self._settings,
        ).document(self._manifests)
        document["metadata"]["ownerReferences"] = [owner_of(service)]
        return WatchedJob(client, document, self._follow)

    def _await_end(self, job: WatchedJob, repeat: int) -> JobReading:
        while True:
            self._stop_if_asked()
            reading = job.look(_LOOK_S)
            if reading.state in {JobState.COMPLETED, JobState.FAILED}:
                return reading
            self._phase = self._described(reading, repeat)

    def _described(self, reading: JobReading, repeat: int) -> str:
        of_repeat = [point for point in self._plan.points() if point.repeat == repeat]
        started = self._output.points_started
        if reading.state is JobState.WAITING:
            return f"the BenchmarkJob waits: {reading.detail}"
        if not started:
            return "genai-bench starts"
        return describe_point(of_repeat[min(started, len(of_repeat)) - 1], self._plan.repeats)

    def _files(
        self, client: ApiClient, service: Document, folder: str, repeat: int, reading: JobReading
    ) -> Mapping[str, bytes]:
        """What genai-bench wrote; of a job that failed, whatever can still be had of it."""
        self._phase = "the results are read"
        name = f"{service['metadata']['name']}-r{repeat}"
        reader = ResultsReader(
            client,
            self._manifests,
            plan_reader(service, self._storage, name, self._settings),
            owner_of(service),
            self._wait,
        )
        try:
            return reader.read(f"{self._storage.folder}/{folder}")
        except ResultsUnreadable as error:
            if reading.state is JobState.COMPLETED:
                raise
            logger.info("%s", error)
            return {}

    # --- What the cluster has ---

    def _service(self, client: ApiClient) -> Document:
        name = self._deployment.identity.name
        return self._found(client, INFERENCE_SERVICE, name, self._deployment.namespace)

    def _model(self, client: ApiClient, service: Document) -> Document:
        reference = service["spec"]["model"]
        if reference.get("kind") == BASE_MODEL.name:
            namespace = service["metadata"]["namespace"]
            return self._found(client, BASE_MODEL, reference["name"], namespace)
        return self._found(client, CLUSTER_BASE_MODEL, reference["name"])

    def _check_claim(self, client: ApiClient, namespace: str) -> None:
        """OME tries for ever to make a pod with a claim that is not there, and says nothing."""
        self._found(client, CLAIM, self._storage.claim, namespace)

    def _found(
        self, client: ApiClient, kind: ObjectKind, name: str, namespace: str | None = None
    ) -> Document:
        with asking(client, f"look at the {kind.name} {name}"):
            document = find(client, kind, name, namespace)
        if document is None:
            where = f" in the namespace {namespace}" if namespace else ""
            message = f"There is no {kind.name} {name}{where}, which the BenchmarkJob needs."
            raise DeploymentError(FailureKind.INVALID_SPEC, message)
        return document

    def _engine_pod(self, client: ApiClient, service: Document) -> Document | None:
        name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
        with asking(client, f"look at the pods of the InferenceService {name}"):
            return next(iter(list_objects(client, POD, namespace, f"{SERVICE_LABEL}={name}")), None)

    # --- Results ---

    def _collect(self, files: Mapping[str, bytes], repeat: int) -> None:
        for name in sorted(files):
            if name == _METADATA_FILE:
                (self._results / name).write_bytes(files[name])
            elif not name.startswith(_DEBUG_PREFIX):
                self._collect_result(name, files[name], repeat)

    def _collect_result(self, name: str, content: bytes, repeat: int) -> None:
        try:
            result = parse_result(json.loads(content))
        except ValueError as error:
            self._report(f"{name} is ignored: {error}")
            return
        point = LoadPoint(result.point.scenario, result.point.concurrency, repeat)
        if point not in self._missing:
            self._report(f"{name} is ignored: {point} was not asked for")
            return
        index = self._plan.points().index(point)
        (self._results / f"{index:03}_{name}").write_bytes(content)
        with self._lock:
            self._missing.remove(point)
            self._fresh.append(replace(result, point=point))

    def _reasons(self, files: Mapping[str, bytes]) -> list[str]:
        self._scratch.mkdir(exist_ok=True)
        debug_files = []
        for name, content in files.items():
            if name.startswith(_DEBUG_PREFIX):
                debug_files.append(self._scratch / Path(name).name)
                debug_files[-1].write_bytes(content)
        found = (
            describe_failed_requests(debug_files, Redactor(None)),
            self._output.most_telling_line(),
        )
        return [reason for reason in found if reason]

    def _missing_points(self, how: str, reasons: list[str] | None = None) -> Failure | None:
        if not self._missing:
            return None
        return missing_points(self._missing, self._plan.repeats, how, reasons or [])

    # --- Small things ---

    def _stop_if_asked(self) -> None:
        if self._stopping.is_set():
            raise _Stopped

    def _wait(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise _Stopped

    def _follow(self, line: str) -> None:
        for shown in self._output.follow(line):
            self._report(shown)

    def _report(self, line: str) -> None:
        try:
            self._log(LogSource.BENCHMARK, line)
        except Exception:
            logger.exception("A line of the benchmark's log was lost")
