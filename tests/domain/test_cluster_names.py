"""Names in a cluster, and the runtimes that older task files name as their engine."""

from __future__ import annotations

from typing import Any

import pytest

from tests.domain.task_files import OLDER_OME_TASK, minimal_task, problems_in, spec_of
from tuning.domain.cluster_names import ClaimFolder, claim_folder, namespace_fault
from tuning.domain.names import EngineName
from tuning.domain.spec import parse_task


@pytest.mark.parametrize(
    ("name", "engine"),
    [
        ("sglang-llama-small", EngineName.SGLANG),
        ("srt-llama-3-2-1b-instruct", EngineName.SGLANG),
        ("vllm-llama-3.3-70b", EngineName.VLLM),
        ("llama-3-2-1b-vllm-rt", EngineName.VLLM),
    ],
)
def test_an_older_files_runtime_tells_its_engine(name: str, engine: EngineName) -> None:
    spec = spec_of(base_runtime=name)
    assert (spec.base_runtime, spec.ome.runtime) == (engine, name)
    assert parse_task(spec.to_document()) == spec


def test_the_rest_of_the_ome_section_stays_as_it_is() -> None:
    ome = {"measuring": "benchmark_job", "results_storage": "pvc://results/a"}
    spec = spec_of(base_runtime="srt-llama", ome=ome)
    assert spec.to_document()["ome"] == ome | {"runtime": "srt-llama"}


def test_an_older_file_is_read_whole() -> None:
    spec = parse_task(OLDER_OME_TASK)
    assert (spec.base_runtime, spec.ome.runtime) == (EngineName.SGLANG, "sglang-llama-small")
    assert spec.model.id_or_path == "llama-3-2-1b-instruct"


@pytest.mark.parametrize("name", ["llama-3-2-1b-instruct-rt", "vllm-or-sglang", "resglang-x"])
def test_a_runtime_that_does_not_tell_its_engine_is_refused(name: str) -> None:
    problems = problems_in(minimal_task(base_runtime=name))
    assert list(problems) == ["base_runtime"]
    assert "does not tell which engine" in problems["base_runtime"]
    assert "ome.runtime" in problems["base_runtime"]


def test_two_runtimes_are_refused() -> None:
    document = minimal_task(base_runtime="srt-llama", ome={"runtime": "other"})
    assert "as ome.runtime does" in problems_in(document)["base_runtime"]


@pytest.mark.parametrize("ome", [7, [], "x", {"runtime": 7}, {"runtime": "Big Name"}])
def test_what_is_wrong_beside_an_older_runtime_is_said_too(ome: Any) -> None:
    problems = problems_in(minimal_task(base_runtime="srt-llama", ome=ome))
    assert any(path.startswith(("ome", "base_runtime")) for path in problems)


def test_a_misspelt_engine_is_no_runtime() -> None:
    message = problems_in(minimal_task(base_runtime="sgland"))["base_runtime"]
    assert 'did you mean "sglang"?' in message


def test_a_namespace_matters_in_a_cluster_alone() -> None:
    model = {"id_or_path": "llama", "namespace": "My Namespace"}
    assert problems_in(minimal_task(model=model)) == {}
    (message,) = problems_in(minimal_task(model=model, deployment_mode="ome")).values()
    assert "name of a Kubernetes namespace" in message


@pytest.mark.parametrize("name", ["a", "a1", "1a", "a" * 63, "a--b"])
def test_good_namespaces(name: str) -> None:
    assert namespace_fault(name) is None


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a.b", "a_b", "a" * 64, "ä", "a\n"])
def test_bad_namespaces(name: str) -> None:
    assert namespace_fault(name) is not None


@pytest.mark.parametrize("name", ["Llama", "a_b", "a..b", ".a", "a b", "a" * 254, "a{{b}}"])
def test_a_runtime_is_named_as_kubernetes_names_objects(name: str) -> None:
    problems = problems_in(minimal_task(ome={"runtime": name}))
    assert "must be the name of a Kubernetes object" in problems["ome.runtime"]


def test_storage_is_a_claim_and_a_folder() -> None:
    assert claim_folder("pvc://results/a/b") == ClaimFolder("results", "a/b")
    spec = spec_of(ome={"results_storage": " pvc://results/a/ "})
    assert spec.ome.results_storage == "pvc://results/a"


@pytest.mark.parametrize(
    "uri",
    [
        "results/a",
        "pvc:results/a",
        "pvc://",
        "pvc://results",
        "pvc://results/",
        "pvc:///a",
        "s3://bucket/a",
        "pvc://Results/a",
        "pvc://results/../a",
        "pvc://results/a//b",
        "pvc://results/a b",
        "pvc://results/a/.",
        'pvc://results/a"b',
    ],
)
def test_other_storage_is_refused(uri: str) -> None:
    assert list(problems_in(minimal_task(ome={"results_storage": uri}))) == ["ome.results_storage"]


def test_a_benchmark_job_needs_storage() -> None:
    problems = problems_in(minimal_task(ome={"measuring": "benchmark_job"}))
    assert "benchmark_job" in problems["ome.results_storage"]
