"""The models and runtimes in examples/ome: as OME defines them, and fit to be tuned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from controllers.cluster import model_matching
from controllers.cluster.models import find_model, model_reference
from controllers.cluster.runtimes import Runtime, choose_runtime, runtime_of
from controllers.cluster.service_plan import plan_service
from controllers.cluster.settings import ClusterSettings
from controllers.engines.catalogue import engine
from tests.controllers.cluster_samples import MANIFESTS, request
from tests.controllers.crd_schemas import full_schema, problems, reduced_schema
from tuning.domain.names import EngineName
from tuning.domain.spec import parse_task

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "ome"
FILES = sorted(FOLDER.rglob("*.yaml"))
MODELS = sorted((FOLDER / "models").glob("*.yaml"))
RUNTIMES = sorted((FOLDER / "runtimes").glob("*.yaml"))


def read(path: Path) -> dict[str, Any]:
    document = yaml.safe_load(path.read_text())
    assert isinstance(document, dict)
    return document


def runtime_in(path: Path) -> Runtime:
    return runtime_of(read(path))


def model_of(path: Path) -> dict[str, Any]:
    """The model that a runtime's file name names."""
    return read(FOLDER / "models" / f"{path.stem.partition('-')[2]}.yaml")


def named(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("schema", [reduced_schema, full_schema])
@pytest.mark.parametrize("path", FILES, ids=named)
def test_presets_are_as_ome_defines_them(path: Path, schema: Any) -> None:
    document = read(path)

    assert problems(document, schema(document["kind"])) == []


def test_every_model_has_a_runtime_for_each_engine() -> None:
    wanted = {f"{kind}-{path.stem}" for path in MODELS for kind in ("sglang", "vllm")}

    assert {path.stem for path in RUNTIMES} == wanted
    assert len(MODELS) >= 4


@pytest.mark.parametrize("path", MODELS, ids=named)
def test_models_are_named_as_their_files_and_found_by_hub_id(path: Path) -> None:
    document = read(path)
    hub_id = document["spec"]["storage"]["storageUri"].removeprefix("hf://")

    assert document["metadata"]["name"] == path.stem
    for wanted in (path.stem, hub_id):
        assert find_model([document], wanted) is document


@pytest.mark.parametrize("path", RUNTIMES, ids=named)
def test_runtimes_are_for_their_model_and_nobody_is_given_one_unasked(path: Path) -> None:
    runtime, model = runtime_in(path), model_of(path)
    kind = EngineName(path.stem.partition("-")[0])

    assert runtime.name == f"autotuner-{path.stem}"
    assert (runtime.engine, runtime.obstacle, runtime.is_old) == (kind, None, False)
    assert model_matching.mismatch(runtime.spec, model["spec"]) is None
    assert not model_matching.is_chosen_by_itself(runtime.spec)
    assert choose_runtime([read(path)], model, engine(kind), runtime.name) == runtime


@pytest.mark.parametrize("path", RUNTIMES, ids=named)
def test_runtimes_leave_the_tuned_flags_to_the_task(path: Path) -> None:
    runtime, model = runtime_in(path), model_of(path)
    kind = engine(EngineName(path.stem.partition("-")[0]))
    parallelism = "tp-size" if kind.name is EngineName.SGLANG else "tensor-parallel-size"
    for parameters, gpus in (({}, runtime.gpus), ({parallelism: 8}, 8)):
        plan = plan_service(
            request(parameters, engine=kind.name),
            kind,
            runtime,
            ClusterSettings(),
            MANIFESTS,
            model_reference(model),
        )
        assert plan.serving_runtime is None
        assert plan.gpus == gpus
    known = {word for word in runtime.command if kind.catalogue.find(word)}
    assert known <= {f"--{parallelism}"}


def test_the_readme_shows_a_task_that_can_be_read() -> None:
    text = (FOLDER / "README.md").read_text()
    shown = yaml.safe_load(text.partition("```json\n")[2].partition("```")[0])
    task = parse_task({"task_name": "x", "parameters": {"tp-size": [1, 2]}, **shown})

    assert task.ome.runtime in {runtime_in(path).name for path in RUNTIMES}
    assert task.model.id_or_path in {path.stem for path in MODELS}
