"""OME's side of a BenchmarkJob: the Job that runs genai-bench, and the state told from it.

From `benchmark/controller.go` and `benchmark/utils/utils.go` of v0.1.5, with their oddities: an
`endpoint` has neither key nor tokenizer, a service's model is called `vllm-model`, request
parameters are not passed on, and the pod asks for a node with GPUs.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from tests.cluster.api import Api, Document, Refused, key_of, now, owner_reference
from tests.cluster.images import GENAI_BENCH_IMAGE
from tests.cluster.ome_merging import merged_engine

FINALIZER = "benchmarkjob.finalizers"
GPU = "nvidia.com/gpu"

Find = Callable[[str, str, str], Document | None]
FindModel = Callable[[str, str], Document | None]


class FakeBenchmarks:
    """`find` takes kind, namespace and name; `find_model` namespace and name."""

    def __init__(self, api: Api, find: Find, find_model: FindModel) -> None:
        self._api = api
        self._find = find
        self._find_model = find_model

    async def reconcile(self, job: Document) -> None:
        metadata = job["metadata"]
        finalizers = metadata.get("finalizers", [])
        if "deletionTimestamp" in metadata:
            if FINALIZER in finalizers:
                kept = [one for one in finalizers if one != FINALIZER]
                await self._change(job, {"metadata": {"finalizers": kept}})
            return
        if FINALIZER not in finalizers:
            await self._change(job, {"metadata": {"finalizers": [*finalizers, FINALIZER]}})
            return
        batch = self._find("Job", *key_of(job))
        await self._tell_state(job, batch)
        if batch is None and (document := await self._job_of(job)) is not None:
            try:
                await self._api.create(document)
            except Refused as refused:
                if refused.status != 409:
                    raise

    async def _change(self, job: Document, change: Document) -> None:
        change["metadata"]["resourceVersion"] = job["metadata"]["resourceVersion"]
        await self._api.patch("BenchmarkJob", key_of(job), change)

    # --- Its state ---

    async def _tell_state(self, job: Document, batch: Document | None) -> None:
        before = job.get("status", {})
        status = _state_of(batch)
        if any(before.get(name) != value for name, value in status.items()):
            change = {"status": {**status, "lastReconcileTime": now()}}
            await self._api.patch("BenchmarkJob", key_of(job), change, "/status")

    # --- Its pod ---

    async def _job_of(self, job: Document) -> Document | None:
        """None while OME itself would wait: for the service, or for a claim that is not there."""
        arguments = self._endpoint_arguments(job)
        volumes, mounts = self._model_volume(job)
        claim, _, folder = (
            job["spec"]["outputLocation"]["storageUri"].removeprefix("pvc://").partition("/")
        )
        namespace, name = key_of(job)
        if (
            arguments is None
            or await self._api.get("PersistentVolumeClaim", namespace, claim) is None
        ):
            return None
        storage = "benchmark-output-storage"
        volumes.append({"name": storage, "persistentVolumeClaim": {"claimName": claim}})
        mounts.append({"name": storage, "mountPath": f"/{folder}", "subPath": folder})
        container = {
            "name": name,
            "image": GENAI_BENCH_IMAGE,
            "command": ["genai-bench"],
            "args": [
                *self._arguments(job["spec"], arguments),
                "--experiment-base-dir",
                f"/{folder}",
            ],
            "env": [{"name": "ENABLE_UI", "value": "false"}],
            "resources": {
                "requests": {"cpu": "2", "memory": "2Gi"},
                "limits": {"cpu": "2", "memory": "2Gi"},
            },
            "volumeMounts": mounts,
        }
        return _batch_job(job, _overridden(container, volumes, job["spec"].get("podOverride")))

    def _endpoint_arguments(self, job: Document) -> dict[str, str] | None:
        endpoint = job["spec"]["endpoint"]
        if "endpoint" in endpoint:
            given = endpoint["endpoint"]
            return {
                "--api-backend": given.get("apiFormat", ""),
                "--api-base": given["url"],
                "--api-key": "",
                "--api-model-name": given.get("modelName", ""),
                "--model-tokenizer": "",
            }
        service = self._service_of(job)
        model = self._model_of(service)
        if service is None or model is None or not _is_ready(service):
            return None
        variables = service["spec"].get("engine", {}).get("runner", {}).get("env", [])
        protocols = [one["value"] for one in variables if one["name"] == "PROTOCOL_VERSION"]
        url = urlsplit(service["status"]["url"])
        return {
            "--api-backend": next(iter(protocols), "") or "openai",
            "--api-base": f"{url.scheme}://{url.netloc}",
            "--api-key": "sample-key",
            "--api-model-name": "vllm-model",
            "--model-tokenizer": model["spec"]["storage"]["path"],
        }

    def _service_of(self, job: Document) -> Document | None:
        reference = job["spec"]["endpoint"].get("inferenceService")
        if reference is None:
            return None
        return self._find("InferenceService", reference["namespace"], reference["name"])

    def _model_of(self, service: Document | None) -> Document | None:
        if service is None:
            return None
        name = service["spec"].get("model", {}).get("name", "")
        found = self._find_model(service["metadata"]["namespace"], name)
        return found if found and "path" in found["spec"]["storage"] else None

    def _model_volume(self, job: Document) -> tuple[list[Document], list[Document]]:
        model = self._model_of(self._service_of(job))
        if model is None:
            return [], []
        name, path = model["metadata"]["name"], model["spec"]["storage"]["path"]
        mount = {"name": name, "mountPath": path, "readOnly": True}
        return [{"name": name, "hostPath": {"path": path}}], [mount]

    @staticmethod
    def _arguments(spec: Document, endpoint: dict[str, str]) -> list[str]:
        names = ("--api-backend", "--api-base", "--api-key", "--api-model-name")
        arguments = ["benchmark"]
        for name in names:
            arguments += [name, endpoint[name]]
        arguments += ["--task", spec["task"]]
        arguments += ["--max-time-per-run", str(spec["maxTimePerIteration"])]
        arguments += ["--max-requests-per-run", str(spec["maxRequestsPerIteration"])]
        arguments += ["--model-tokenizer", endpoint["--model-tokenizer"]]
        for scenario in spec.get("trafficScenarios", []):
            arguments += ["--traffic-scenario", scenario]
        for concurrency in spec.get("numConcurrency", []):
            arguments += ["--num-concurrency", str(concurrency)]
        if "resultFolderName" in spec:
            arguments += ["--experiment-folder-name", spec["resultFolderName"]]
        if metadata := spec.get("serviceMetadata"):
            arguments += ["--server-engine", metadata["engine"]]
            arguments += ["--server-gpu-type", metadata["gpuType"]]
            arguments += ["--server-version", metadata["version"]]
            arguments += ["--server-gpu-count", str(metadata["gpuCount"])]
        return arguments


def _batch_job(job: Document, pod_spec: Document) -> Document:
    namespace, name = key_of(job)
    labels = {"benchmark": name}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": labels,
            "ownerReferences": [owner_reference(job)],
        },
        "spec": {
            "backoffLimit": 0,
            "template": {"metadata": {"labels": labels}, "spec": pod_spec},
        },
    }


def _overridden(
    container: Document, volumes: list[Document], override: Document | None
) -> Document:
    pod = {
        "containers": [container],
        "volumes": volumes,
        "nodeSelector": {GPU: "true"},
        "tolerations": [{"key": GPU, "operator": "Exists", "effect": "NoSchedule"}],
        "restartPolicy": "Never",
    }
    if override is None:
        return pod
    in_container = ("image", "env", "envFrom", "volumeMounts", "resources")
    own = {name: override[name] for name in in_container if name in override}
    in_pod = ("volumes", "affinity", "nodeSelector", "tolerations")
    merged = merged_engine(pod, {name: override[name] for name in in_pod if name in override})
    merged["containers"] = [merged_engine(container, {**own, "name": "genai-bench"})]
    return merged


def _state_of(batch: Document | None) -> Document:
    if batch is None:
        return {"state": "Pending"}
    status = batch.get("status", {})
    for one in status.get("conditions", []):
        if one["type"] == "Failed" and one["status"] == "True":
            return {"state": "Failed", "failureMessage": one.get("message", "")}
    if "completionTime" in status:
        return {"state": "Completed", "completionTime": status["completionTime"]}
    return {"state": "Running"}


def _is_ready(service: Document) -> bool:
    conditions = service.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
