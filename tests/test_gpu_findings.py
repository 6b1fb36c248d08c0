"""A task whose model is too big for the GPUs here is refused, or warned of, with the numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from controllers.base import HostCards
from controllers.gpus import Gpu, GpuInventory
from tests.controllers.memory_deployments import A10, H100, H200, config
from tests.domain.task_files import minimal_task, spec_of
from tests.orchestrator.accelerators import live_worker
from tuning import composition
from tuning.composition import HostGpus
from tuning.domain.spec import InvalidTask
from tuning.flag_findings import engine_of, with_right_flags
from tuning.gpu_findings import NO_HOSTS, GpuFindings, Hosts, gpu_findings, hosts_for
from tuning.preview import preview_task

pytestmark = pytest.mark.django_db

VLLM = {"base_runtime": "vllm", "deployment_mode": "docker"}
TP = "tensor-parallel-size"


@pytest.fixture(autouse=True)
def models(tmp_path: Path, settings: Any) -> Path:
    settings.DOCKER_MODEL_PATH = settings.AUTOTUNER_MODEL_PATH = tmp_path
    for name in ("llama-3.1-8b", "llama-3.1-70b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(config(name)))
    return tmp_path


def task(model: str = "llama-3.1-70b", **sections: Any) -> dict[str, Any]:
    return minimal_task(**{**VLLM, "model": {"id_or_path": model}, **sections})


def found_on(*sizes: tuple[float, ...], model: str = "llama-3.1-70b", **sections: Any) -> Any:
    spec = spec_of(**{**VLLM, "model": {"id_or_path": model}, **sections})
    hosts = Hosts(max(map(len, sizes)), sizes)
    return gpu_findings(spec, engine_of(spec.base_runtime), hosts)


def give_this_host(monkeypatch: pytest.MonkeyPatch, *sizes: float) -> None:
    cards = tuple(Gpu(index, "", "a card", size, 0.0) for index, size in enumerate(sizes))
    monkeypatch.setattr(composition, "host_gpus", lambda: GpuInventory(cards))


# --- One configuration after another ---


def test_a_model_too_big_with_every_value_is_a_problem_of_the_model() -> None:
    found = found_on((H100, H100), parameters={TP: [1, 2], "max-model-len": 100_000})
    (problem,) = found.problems
    assert problem.path == "model.id_or_path"
    assert problem.message.startswith(
        "does not fit on the GPUs here, whatever the values are: Too big: the weights take at "
        "least 127.5 GiB of each GPU"
    )
    assert found.warnings == ()


def test_a_single_configuration_has_no_values_to_choose() -> None:
    (problem,) = found_on((A10,), parameters={"schedule": ["a", "b"]}).problems
    assert problem.message.startswith("does not fit on the GPUs here: Too big: ")


def test_some_combinations_are_counted_in_a_warning() -> None:
    found = found_on(
        (H100,) * 4,
        parameters={TP: [1, 2, 4], "max-model-len": [2048, 4096], "seed": [1, 2]},
        optimization={"baseline": False},
    )
    assert found.problems == ()
    (warning,) = [one for one in found.warnings if "refused" in one]
    assert warning.startswith(
        f"2 of 6 combinations of {TP}, max-model-len that were looked at would be refused for "
        "want of GPU memory. Too big: the weights take"
    ), warning


def test_a_tight_fit_is_a_warning() -> None:
    found = found_on((H100, H100), parameters={TP: 2, "seed": [1, 2]})
    assert found.problems == ()
    (warning,) = found.warnings
    assert warning.startswith("Every configuration may run out of GPU memory. Tight: weights")


def test_a_baseline_that_is_too_big_is_told_by_itself() -> None:
    found = found_on((H100,) * 4, parameters={TP: 4, "max-model-len": [4096, 8192]})
    assert found == GpuFindings()
    found = found_on((H100,) * 8, parameters={TP: [4, 8], "max-model-len": 4096})
    (warning,) = found.warnings
    assert warning.startswith("The baseline would be refused for want of GPU memory. Too big")


def test_constraints_leave_out_what_would_not_fit() -> None:
    sections: dict[str, Any] = {"parameters": {TP: [1, 4], "max-model-len": 4096}}
    tuned: dict[str, Any] = sections | {
        "constraints": [f"{TP} >= 4"],
        "optimization": {"baseline": False},
    }
    assert found_on((H100,) * 4, **tuned) == GpuFindings()
    assert found_on((H100,) * 4, **sections).warnings


def test_between_the_ends_of_a_range_values_may_fit() -> None:
    lengths = {"type": "int", "low": 150_000, "high": 200_000}
    found = found_on((A10,), model="llama-3.1-8b", parameters={"max-model-len": lengths})
    assert found.problems == ()
    assert found.warnings[0].startswith("2 of 2 combinations of max-model-len")


def test_a_large_space_is_looked_at_here_and_there() -> None:
    found = found_on(
        (A10,),
        model="llama-3.1-8b",
        parameters={
            "max-model-len": list(range(2_000, 400_000, 4_000)),
            "max-num-seqs": list(range(1, 51)),
        },
    )
    assert found.problems == ()
    (warning, *_) = found.warnings
    assert " of 385 combinations of max-model-len, max-num-seqs that were looked at" in warning


# --- Hosts ---


def test_the_best_cards_of_any_host_decide() -> None:
    sections: dict[str, Any] = {
        "model": "llama-3.1-8b",
        "parameters": {"max-model-len": 4096, "seed": [1, 2]},
    }
    assert found_on((A10, H100), (A10,), **sections) == GpuFindings()
    # Two cards of 70 GiB and two of 22 are no four cards of 70.
    seventy: dict[str, Any] = {"parameters": {TP: 4, "max-model-len": 4096, "seed": [1, 2]}}
    assert found_on((A10, A10, H100, H100), **seventy).problems
    assert found_on((A10, A10, H100, H100), (H100,) * 4, **seventy).problems == ()


def test_nothing_is_said_without_cards_or_without_the_model() -> None:
    spec = spec_of(**VLLM, model={"id_or_path": "llama-3.1-70b"})
    assert gpu_findings(spec, engine_of(spec.base_runtime), NO_HOSTS) == GpuFindings()
    assert found_on((A10,), model="org/never-downloaded") == GpuFindings()


def test_a_host_with_too_few_cards_says_nothing_of_memory() -> None:
    assert found_on((A10,), parameters={TP: [2, 4]}, optimization={"baseline": False}) == (
        GpuFindings()
    )


def test_hosts_are_this_one_and_those_of_live_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    give_this_host(monkeypatch, A10)
    live_worker("elsewhere", gpus=2, cards_mib=[H100, H100])
    hosts = hosts_for(spec_of(**VLLM))
    assert hosts == Hosts(2, ((A10,), (H100, H100)))
    assert hosts_for(spec_of(**{**VLLM, "deployment_mode": "ome"})) == NO_HOSTS


def test_cards_that_may_not_be_used_are_no_cards(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    give_this_host(monkeypatch, A10, H100)
    settings.AUTOTUNER_GPUS = (0, 7)
    cards = HostGpus().cards()
    assert cards == HostCards(cards.host, (0, 7), memory_mib={0: A10})
    settings.AUTOTUNER_GPUS = ()
    assert hosts_for(spec_of(**VLLM)) == NO_HOSTS


def test_cards_that_docker_alone_has_are_for_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    told = GpuInventory((), note="none", in_containers=(0, 1))
    monkeypatch.setattr(composition, "host_gpus", lambda: told)
    cards = HostGpus().cards()
    assert (cards.present, cards.only_for_containers) == ((0, 1), True)
    assert hosts_for(spec_of(**VLLM)).most_gpus == 2
    assert hosts_for(spec_of(**{**VLLM, "deployment_mode": "local"})).most_gpus == 0


# --- Where it is said ---


def test_a_task_that_cannot_fit_is_invalid_and_has_no_preview(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    document = task(parameters={"max-model-len": [2048, 4096]})
    give_this_host(monkeypatch)
    assert preview_task(document).problems == ()
    give_this_host(monkeypatch, H100)
    with pytest.raises(InvalidTask) as invalid:
        with_right_flags(spec_of(**{k: v for k, v in document.items() if k != "task_name"}))
    (problem,) = preview_task(document).problems
    assert invalid.value.problems == (problem,)


def test_a_preview_warns_of_what_may_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    give_this_host(monkeypatch, H100, H100)
    preview = preview_task(task(parameters={TP: [1, 2], "max-model-len": 4096}))
    assert preview.problems == ()
    assert any("1 of 2 combinations" in one and "GPU memory" in one for one in preview.warnings)


def test_more_gpus_than_any_host_has_break_a_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    give_this_host(monkeypatch, H200, H200)
    eight = task(model="llama-3.1-8b", parameters={TP: [8, 16]})
    (problem,) = preview_task(eight).problems
    assert problem.path == f"parameters.{TP}"
    assert "<= gpus" in problem.message
    some = preview_task(task(model="llama-3.1-8b", parameters={TP: [1, 2, 4]}))
    assert any(one.startswith(f"1 of 3 combinations of {TP}") for one in some.warnings)
    live_worker("elsewhere", gpus=16)
    assert preview_task(eight).problems == ()
