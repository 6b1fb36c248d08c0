"""The objects that serve one configuration of a task in a cluster. Pure: asks no cluster.

Facts about OME are in `flag_placement` and `documents`. Whatever the runtime says that a task does
not touch stays as it is.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from controllers.base import DeploymentError, DeploymentRequest
from controllers.cluster.documents import (
    InferenceServiceDocument,
    ModelReference,
    RuntimeKind,
    RuntimeReference,
    ServingRuntimeDocument,
)
from controllers.cluster.flag_placement import FlagPlacement, place_flags
from controllers.cluster.manifests import Manifests, UnrenderableValue
from controllers.cluster.models import DEFAULT_NAMESPACE, cluster_name
from controllers.cluster.object_rules import LONGEST_LABEL
from controllers.cluster.runtimes import RUNNER, Runtime
from controllers.cluster.settings import ClusterSettings
from controllers.engines.base import Engine
from controllers.genai_bench.command import API_BACKENDS
from tuning.domain.failures import FailureKind
from tuning.domain.names import FlagValue

GRACE_S = 10
BENCHMARK_BACKEND = "PROTOCOL_VERSION"
"""The engine's variable from which OME tells the genai-bench of a BenchmarkJob how to speak to it
(v0.1.5, `benchmarkutils.BuildInferenceServiceArgs`). Else that would be `openai`, which leaves
`ignore_eos` out, so that answers would end earlier than in a measurement from here."""
ENGINE_SUFFIX = "-engine"
"""What OME adds to a service's name for the engine's Deployment and Service."""
LONGEST_SERVICE_NAME = LONGEST_LABEL - len(ENGINE_SUFFIX)

_NOT_OURS = ("decoderConfig", "routerConfig", "workers", "containers")
"""Parts of a runtime that a copy of it for one engine has no use for."""
_OF_THE_POD = (
    *("affinity", "annotations", "dnsPolicy", "hostIPC", "hostNetwork", "imagePullSecrets"),
    *("labels", "nodeSelector", "schedulerName", "tolerations", "volumes"),
)
"""What older runtimes say of the pod beside their containers, and newer ones in `engineConfig`."""
_TAG = re.compile(r"(?P<name>.+?)(:(?P<tag>[^:/@]+))?(@(?P<digest>.+))?")


@dataclass(frozen=True)
class ServicePlan:
    """What is sent to the cluster, and what is known of it beforehand.

    `serving_runtime` is None unless image or command are other than the runtime's. `command` is the
    engine's whole command for people: variables that the cluster fills in stand as they are, what
    is the engine's image's own is not there. `gpus` is how many the pod asks for. `port` is where
    the engine listens in its pod.
    """

    inference_service: dict[str, Any]
    serving_runtime: dict[str, Any] | None
    command: tuple[str, ...]
    gpus: int
    port: int
    image: str | None
    model: ModelReference
    runtime: RuntimeReference
    """The runtime that the service names: the chosen one, or ours."""
    chosen: RuntimeReference

    @property
    def facts(self) -> dict[str, Any]:
        """What makes a measurement comparable, and its winner exportable: JSON values."""
        return {
            "model": self.model.name,
            "runtime": self.chosen.name,
            "image": self.image,
            "manifests": [one for one in (self.serving_runtime, self.inference_service) if one],
        }


def plan_service(
    request: DeploymentRequest,
    engine: Engine,
    runtime: Runtime,
    settings: ClusterSettings,
    manifests: Manifests,
    model: ModelReference | None = None,
) -> ServicePlan:
    """`model` is how the cluster knows the request's model; without it, a ClusterBaseModel of the
    name that OME's own models would have.

    Raises:
        DeploymentError: BAD_FLAG or INVALID_SPEC, with what is wrong and where.
    """
    placement = place_flags(runtime, engine, request.served_model_name, request.parameters)
    image = wanted_image(request, engine, runtime)
    model = model or ModelReference(cluster_name(request.model))
    namespace = request.namespace or DEFAULT_NAMESPACE
    try:
        _check_service_name(request.identity.name)
        own = _own_runtime(request, runtime, placement, image, namespace)
        named = RuntimeReference(own.name, RuntimeKind.NAMESPACED) if own else runtime.reference
        service = InferenceServiceDocument(
            name=request.identity.name,
            namespace=namespace,
            model=model,
            runtime=named,
            args=placement.args,
            gpus=_gpus_to_ask_for(engine, placement.gpu_parameters),
            gpu_resource=runtime.gpu_resource,
            labels=request.identity.labels,
            node_selector=settings.node_selector,
            tolerations=_tolerations(runtime, settings),
            grace_s=GRACE_S,
            env={BENCHMARK_BACKEND: API_BACKENDS[engine.name]},
        )
        return ServicePlan(
            inference_service=service.document(manifests),
            serving_runtime=own.document(manifests) if own else None,
            command=placement.shown,
            gpus=service.gpus or runtime.gpus,
            port=runtime.port,
            image=image,
            model=model,
            runtime=named,
            chosen=runtime.reference,
        )
    except UnrenderableValue as error:
        raise DeploymentError(FailureKind.INVALID_SPEC, str(error)) from error


def wanted_image(request: DeploymentRequest, engine: Engine, runtime: Runtime) -> str | None:
    """The runtime's image, unless the task names one or another tag of it; None where neither does,
    so that none is known."""
    if request.runtime_image is not None:
        return engine.image_with_tag(request.runtime_image, request.runtime_image_tag)
    if request.runtime_image_tag is None:
        return runtime.image
    if runtime.image is None:
        return engine.image_with_tag(None, request.runtime_image_tag)
    found = _TAG.fullmatch(runtime.image)
    return f"{found['name'] if found else runtime.image}:{request.runtime_image_tag}"


def _own_runtime(
    request: DeploymentRequest,
    runtime: Runtime,
    placement: FlagPlacement,
    image: str | None,
    namespace: str,
) -> ServingRuntimeDocument | None:
    """A copy of the runtime for this one engine, where an InferenceService can't change enough."""
    is_other = placement.command is not None or image != runtime.image
    if not is_other and not runtime.is_old and not _overrides_flags(runtime.spec):
        return None
    spec = copy.deepcopy({key: item for key, item in runtime.spec.items() if key not in _NOT_OURS})
    config = spec.setdefault("engineConfig", {})
    if runtime.is_old:
        config.update({key: spec.pop(key) for key in _OF_THE_POD if key in spec})
    runner = config["runner"] = {**copy.deepcopy(dict(runtime.runner)), "name": RUNNER}
    if image is not None:
        runner["image"] = image
    if placement.command is not None:
        runner["command"] = list(placement.command)
    for one in spec.get("supportedModelFormats") or ():
        # OME would choose it for other services of the namespace too.
        one["autoSelect"] = False
        one.pop("acceleratorConfig", None)
    return ServingRuntimeDocument(
        request.identity.name, spec, namespace, labels=request.identity.labels
    )


def _overrides_flags(spec: Mapping[str, Any]) -> bool:
    """Whether OME may put flags of its own over ours, by the class of the accelerators."""
    return any(one.get("acceleratorConfig") for one in spec.get("supportedModelFormats") or ())


def _gpus_to_ask_for(engine: Engine, parameters: Mapping[str, FlagValue] | None) -> int:
    """0 leaves it to the runtime."""
    return 0 if parameters is None else engine.gpus_needed(parameters)


def _tolerations(runtime: Runtime, settings: ClusterSettings) -> tuple[Mapping[str, Any], ...]:
    """The runtime's are given again, as a list of ours takes the place of its list."""
    if not settings.tolerations:
        return ()
    own = [one for one in runtime.tolerations if one not in settings.tolerations]
    return (*own, *settings.tolerations)


def _check_service_name(name: str) -> None:
    if len(name) > LONGEST_SERVICE_NAME:
        raise UnrenderableValue(
            "metadata.name",
            f"{name!r} has {len(name)} characters; at most {LONGEST_SERVICE_NAME} leave room for "
            "what OME adds. The installation's name (AUTOTUNER_INSTANCE) has to be shorter.",
        )
