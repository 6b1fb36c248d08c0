"""A task's model in the cluster: what it is called, found by, and made known as."""

from __future__ import annotations

import pytest

from controllers.base import DeploymentIdentity
from controllers.cluster.documents import ModelKind, ModelReference
from controllers.cluster.models import cluster_name, find_model, model_reference, plan_model
from controllers.cluster.settings import ModelSource, ModelStorage
from tests.controllers.cluster_samples import MANIFESTS, model_document, request


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "llama-3-1-8b-instruct"),
        ("llama-3-2-1b-instruct", "llama-3-2-1b-instruct"),
        ("Qwen/Qwen2.5-7B", "qwen2-5-7b"),
        ("/models/01-ai/Yi", "yi"),
        ("org/123B", "model-123b"),
        ("a/" + "x" * 99, "x" * 63),
        ("models/Small.Q4_1.gguf", "small-q4-1"),
        ("漢字", "model"),
    ],
)
def test_models_are_called_as_omes_own_are(model: str, name: str) -> None:
    assert cluster_name(model) == name


@pytest.mark.parametrize(
    "wanted",
    [
        "llama-3-1-70b-instruct",
        "meta-llama/Llama-3.1-70B-Instruct",
        "meta.llama-3-1-70b-instruct",
        "other-org/Llama-3.1-70B-Instruct",
    ],
)
def test_a_model_is_found_by_name_hub_id_or_display_name(wanted: str) -> None:
    documents = [model_document("other", storage={"storageUri": "hf://a/b"}), model_document()]
    found = find_model(documents, wanted)

    assert found is not None
    assert model_reference(found) == ModelReference("llama-3-1-70b-instruct")


def test_a_model_of_the_namespace_is_nearer_and_a_name_goes_first() -> None:
    mine = model_document(kind="BaseModel")
    by_id = model_document("renamed", storage={"storageUri": "hf://o/x@main"})
    by_name = model_document("o-x", storage={"storageUri": "hf://a/b"}, displayName="o/x")

    found = find_model([model_document(), mine], "llama-3-1-70b-instruct")
    assert found is mine
    assert model_reference(mine).kind is ModelKind.NAMESPACED
    assert find_model([by_name, by_id], "o/x") is by_id
    assert find_model([by_name, by_id], "o-x") is by_name
    assert find_model([by_name, by_id], "nothing") is None
    assert find_model([], "o/x") is None


def test_a_hub_model_is_made_known_to_the_namespace() -> None:
    storage = ModelStorage(directory="/raid/models", secret="hf-token")
    document = plan_model(request(), storage, MANIFESTS)

    assert document["kind"] == "BaseModel"
    assert document["metadata"] == {
        "name": "llama-3-1-70b-instruct",
        "namespace": "team",
        "labels": {"autotuner/instance": "abc"},
    }
    assert document["spec"]["storage"] == {
        "storageUri": "hf://meta-llama/Llama-3.1-70B-Instruct",
        "path": "/raid/models/llama-3-1-70b-instruct",
        "key": "hf-token",
    }
    # It outlives the deployment: nothing that removes deployments may take it for one.
    assert DeploymentIdentity.of_labels(document["metadata"]["labels"]) is None


def test_a_model_on_a_claim_is_where_its_folder_says() -> None:
    storage = ModelStorage(ModelSource.CLAIM, claim="weights", folder="/hub/")
    document = plan_model(request(), storage, MANIFESTS)

    assert document["spec"]["storage"] == {
        "storageUri": "pvc://weights/hub/meta-llama/Llama-3.1-70B-Instruct"
    }


def test_a_claim_has_to_be_named() -> None:
    with pytest.raises(ValueError, match="claim"):
        ModelStorage(ModelSource.CLAIM)
