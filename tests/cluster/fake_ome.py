"""FakeOme: what OME's controller does to an InferenceService, so that pods come of it.

OME's own controller can't be had here. This one follows its source (v0.1.5) where the autotuner
depends on it: runtime and model by name, the merge of runtime and service (`ome_merging.py`), the
Deployment `<name>-engine` with OME's labels, the services before it, the finalizer, conditions,
`modelStatus`, and warnings as events. Deployment, ReplicaSet, garbage collection and scheduling are
Kubernetes' own.
"""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import httpx

from tests.cluster.api import Api, Document, Key, Mirror, Refused, key_of, owner_reference
from tests.cluster.events import Recorder
from tests.cluster.fake_benchmark import FakeBenchmarks
from tests.cluster.ome_merging import TemplateError, merged_engine, pod_spec_of
from tests.cluster.ome_status import status_of

FINALIZER = "inferenceservice.finalizers"
SETTLE_S = 0.02
"""Changes come in bursts; one look serves them all."""

_KINDS = (
    *("InferenceService", "ServingRuntime", "ClusterServingRuntime", "BaseModel"),
    *("ClusterBaseModel", "Deployment", "Pod", "Service", "BenchmarkJob", "Job"),
)


class NotDeployable(Exception):
    """OME stops here: an event's reason and message, and what it says of the model."""

    def __init__(self, reason: str, message: str, failure: Document | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.failure = failure


class FakeOme:
    """Looks at everything whenever anything has changed."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._recorder = Recorder(api, "v1beta1Controllers")
        self._changed = asyncio.Event()
        self._mirrors = {kind: Mirror(api, kind, self._wake) for kind in _KINDS}
        self._told: dict[str, str] = {}
        self._benchmarks = FakeBenchmarks(api, self._find, self._model_named)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for mirror in self._mirrors.values():
                group.create_task(mirror.follow())
            group.create_task(self._reconcile_all())

    def _wake(self, key: Key, document: Document | None) -> None:
        self._changed.set()

    async def _reconcile_all(self) -> None:
        while True:
            await self._changed.wait()
            await asyncio.sleep(SETTLE_S)
            self._changed.clear()
            for service in [*self._mirrors["InferenceService"].objects.values()]:
                await self._tried(self._reconcile(service))
            for job in [*self._mirrors["BenchmarkJob"].objects.values()]:
                await self._tried(self._benchmarks.reconcile(job))

    async def _tried(self, reconciling: Any) -> None:
        """What the API server refuses because somebody was quicker is tried again."""
        try:
            await reconciling
        except (Refused, httpx.TransportError) as error:
            if not (isinstance(error, Refused) and error.status == 404):
                asyncio.get_running_loop().call_later(0.1, self._changed.set)

    def _find(self, kind: str, namespace: str, name: str) -> Document | None:
        return self._mirrors[kind].objects.get((namespace, name))

    # --- One service ---

    async def _reconcile(self, service: Document) -> None:
        metadata = service["metadata"]
        finalizers = metadata.get("finalizers", [])
        if "deletionTimestamp" in metadata:
            if FINALIZER in finalizers:
                kept = [one for one in finalizers if one != FINALIZER]
                await self._change(service, {"metadata": {"finalizers": kept}})
            return
        if FINALIZER not in finalizers:
            await self._change(service, {"metadata": {"finalizers": [*finalizers, FINALIZER]}})
            return
        failure: Document | None = None
        try:
            await self._deploy(service)
            self._told.pop(metadata["uid"], None)
        except NotDeployable as error:
            failure = error.failure
            if self._told.get(metadata["uid"]) != str(error):
                self._told[metadata["uid"]] = str(error)
                self._recorder.warn(service, error.reason, str(error))
        await self._tell_status(service, failure)

    async def _deploy(self, service: Document) -> None:
        spec = service["spec"]
        if "engine" not in spec:
            return
        model = self._model_of(service)
        runtime = self._runtime_of(service, model)
        engine = merged_engine(runtime["spec"].get("engineConfig"), spec["engine"])
        try:
            pod_spec = pod_spec_of(engine, model, service)
        except TemplateError as error:
            raise _component_failed(
                f"failed to replace placeholders in container: {error}"
            ) from None
        try:
            await self._ensure(self._deployment_of(service, engine, pod_spec))
            for name in (f"{service['metadata']['name']}-engine", service["metadata"]["name"]):
                await self._ensure(self._service_of(service, name, pod_spec))
        except Refused as refused:
            if refused.status != 422:
                raise
            raise _component_failed(str(refused)) from None

    def _model_of(self, service: Document) -> Document | None:
        reference = service["spec"].get("model")
        if reference is None:
            return None
        name = reference["name"]
        found = self._model_named(service["metadata"]["namespace"], name)
        if found is None:
            message = f"No BaseModel or ClusterBaseModel with the name: {name}"
            failure = {"reason": "BaseModelNotFound", "message": message}
            raise NotDeployable("ModelReconcileError", message, failure)
        return found

    def _model_named(self, namespace: str, name: str) -> Document | None:
        return self._find("BaseModel", namespace, name) or self._find("ClusterBaseModel", "", name)

    def _runtime_of(self, service: Document, model: Document | None) -> Document:
        namespace = service["metadata"]["namespace"]
        reference = service["spec"].get("runtime")
        if reference is None:
            return self._runtime_for(namespace, model)
        name = reference["name"]
        found = self._find("ServingRuntime", namespace, name) or self._find(
            "ClusterServingRuntime", "", name
        )
        if found is None:
            message = f"No ServingRuntimes or ClusterServingRuntimes with the name: {name}"
            raise NotDeployable("RuntimeReconcileError", message)
        if found["spec"].get("disabled"):
            raise NotDeployable("RuntimeReconcileError", f"specified runtime {name} is disabled")
        return found

    def _runtime_for(self, namespace: str, model: Document | None) -> Document:
        """One that selects itself for the model's format; the namespace's own come first."""
        wanted = (model or {}).get("spec", {}).get("modelFormat", {}).get("name")
        for runtime in (
            *self._mirrors["ServingRuntime"].of_namespace(namespace),
            *self._mirrors["ClusterServingRuntime"].objects.values(),
        ):
            formats = runtime["spec"].get("supportedModelFormats", [])
            fitting = [one for one in formats if one["modelFormat"]["name"] == wanted]
            if any(one.get("autoSelect") for one in fitting) and not runtime["spec"].get(
                "disabled"
            ):
                return runtime
        raise NotDeployable("RuntimeReconcileError", "no runtime found to support the model")

    # --- What it makes ---

    def _deployment_of(self, service: Document, engine: Document, pod_spec: Document) -> Document:
        metadata = self._metadata_of(service, f"{service['metadata']['name']}-engine")
        labels = metadata["labels"] | engine.get("labels", {})
        template = {
            "metadata": {"labels": labels, "annotations": engine.get("annotations", {})},
            "spec": pod_spec,
        }
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "replicas": engine.get("minReplicas", 1),
                "selector": {"matchLabels": {"app": labels["app"]}},
                "template": template,
            },
        }

    def _service_of(self, service: Document, name: str, pod_spec: Document) -> Document:
        """The component's service has the container's ports; the one before it also port 80."""
        metadata = self._metadata_of(service, name)
        ports = [
            {"name": f"port-{one['containerPort']}", "port": one["containerPort"]}
            for one in pod_spec["containers"][-1].get("ports", [])
        ]
        first = ports[0]["port"] if ports else 8080
        if name == service["metadata"]["name"] or not ports:
            ports.append({"name": "http", "port": 80, "targetPort": first})
        kind = service["metadata"].get("annotations", {}).get("ome.io/service-type", "ClusterIP")
        spec = {"selector": {"app": metadata["labels"]["app"]}, "ports": ports}
        if name == service["metadata"]["name"]:
            spec["type"] = kind
        return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}

    def _metadata_of(self, service: Document, name: str) -> Document:
        namespace, service_name = key_of(service)
        own = {
            "app": f"isvc.{service_name}-engine",
            "ome.io/inferenceservice": service_name,
            "component": "engine",
        }
        return {
            "name": name,
            "namespace": namespace,
            "labels": service["metadata"].get("labels", {}) | own,
            "ownerReferences": [owner_reference(service)],
        }

    async def _ensure(self, wanted: Document) -> None:
        """Make it, or replace what no longer is as it was made."""
        before = self._find(wanted["kind"], *key_of(wanted))
        mark = {"autotuner-tests/made": repr(wanted["spec"])}
        document = copy.deepcopy(wanted)
        document["metadata"]["annotations"] = mark
        if before is None:
            try:
                await self._api.create(document)
            except Refused as refused:
                # The mirror lags behind what was made a moment ago.
                if refused.status != 409:
                    raise
        elif before["metadata"].get("annotations", {}).items() >= mark.items():
            return
        elif "deletionTimestamp" not in before["metadata"]:
            change = {"metadata": {"annotations": mark}, "spec": document["spec"]}
            await self._api.patch(wanted["kind"], key_of(wanted), change)

    async def _change(self, service: Document, change: Document) -> None:
        change["metadata"]["resourceVersion"] = service["metadata"]["resourceVersion"]
        await self._api.patch("InferenceService", key_of(service), change)

    async def _tell_status(self, service: Document, failure: Document | None) -> None:
        namespace, name = key_of(service)
        deployment = self._find("Deployment", namespace, f"{name}-engine")
        pods = [
            pod
            for pod in self._mirrors["Pod"].of_namespace(namespace)
            if pod["metadata"].get("labels", {}).get("ome.io/inferenceservice") == name
        ]
        before = service.get("status", {})
        status = status_of(service, deployment, pods, failure)
        if status != before:
            # A list in a merge patch takes the place of the one before.
            await self._api.patch(
                "InferenceService", (namespace, name), {"status": status}, "/status"
            )


def _component_failed(why: str) -> NotDeployable:
    message = (
        f"Failed to reconcile component *components.Engine: failed to reconcile pod spec: {why}"
    )
    return NotDeployable("InternalError", message)
