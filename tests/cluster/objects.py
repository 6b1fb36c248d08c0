"""Objects that tests start from."""

from __future__ import annotations

import copy
from typing import Any

from tests.cluster.images import FAKE_ENGINE_IMAGE

MODEL = "fake-model"
RUNTIME = "fake-engine"
MODEL_PATH = "/mnt/models/fake-model"
"""On the nodes."""
SERVED_MODEL_NAME = "fake"
PORT = 8080

BASE_MODEL: dict[str, Any] = {
    "apiVersion": "ome.io/v1beta1",
    "kind": "ClusterBaseModel",
    "metadata": {"name": MODEL},
    "spec": {
        "vendor": "tests",
        "modelArchitecture": "FakeForCausalLM",
        "modelParameterSize": "1B",
        "modelFormat": {"name": "safetensors", "version": "1.0.0"},
        "modelFramework": {"name": "transformers", "version": "4.51.0"},
        "storage": {"storageUri": f"local://{MODEL_PATH}", "path": MODEL_PATH},
    },
}

SERVING_RUNTIME: dict[str, Any] = {
    "apiVersion": "ome.io/v1beta1",
    "kind": "ClusterServingRuntime",
    "metadata": {"name": RUNTIME},
    "spec": {
        "disabled": False,
        "supportedModelFormats": [
            {
                "modelArchitecture": "FakeForCausalLM",
                "modelFormat": {"name": "safetensors", "version": "1.0.0"},
                "modelFramework": {"name": "transformers", "version": "4.51.0"},
                "autoSelect": True,
                "priority": 1,
            }
        ],
        "modelSizeRange": {"min": "1M", "max": "100B"},
        "protocolVersions": ["openAI"],
        "engineConfig": {
            "runner": {
                "name": "ome-container",
                "image": FAKE_ENGINE_IMAGE,
                "command": [
                    *("python3", "-m", "sglang.launch_server", "--host", "0.0.0.0"),
                    *("--port", str(PORT), "--model-path", "$(MODEL_PATH)"),
                    *("--served-model-name", SERVED_MODEL_NAME),
                ],
                "ports": [{"containerPort": PORT, "name": "http1", "protocol": "TCP"}],
                "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "1"}},
                "readinessProbe": {"httpGet": {"path": "/health", "port": PORT}},
            },
        },
    },
}
"""As OME ships most of its runtimes: every flag is part of the command, and `args` is empty."""


def serving_runtime(namespace: str, name: str, *flags: str, **runner: Any) -> dict[str, Any]:
    """A namespace's own runtime with more flags; `runner` replaces fields of its container."""
    spec = copy.deepcopy(SERVING_RUNTIME["spec"])
    spec["supportedModelFormats"][0]["autoSelect"] = False
    container = spec["engineConfig"]["runner"]
    container["command"] += flags
    container |= runner
    return {
        "apiVersion": "ome.io/v1beta1",
        "kind": "ServingRuntime",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def inference_service(namespace: str, name: str, *args: str, **runner: Any) -> dict[str, Any]:
    """One whose FakeEngine gets `args`; `runner` are further fields of its container."""
    container = {"name": "ome-container", "args": [*args], **runner}
    return {
        "apiVersion": "ome.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "model": {"name": MODEL},
            "runtime": {"name": RUNTIME},
            "engine": {"minReplicas": 1, "maxReplicas": 1, "runner": container},
        },
    }
