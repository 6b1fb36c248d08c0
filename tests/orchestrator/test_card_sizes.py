"""On hosts whose cards differ in size, an experiment gets cards that its model fits on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from controllers.base import HostCards
from controllers.gpus import Gpu, GpuInventory
from controllers.local import LocalController
from tests.controllers.conftest import PORT_RANGE
from tests.controllers.memory_deployments import H100
from tests.controllers.test_feasibility import FakeVllm, model_in
from tests.orchestrator.accelerators import (
    FakeHost,
    gpu_task,
    live_worker,
    pending,
    ports_on,
)
from tuning.domain.lifecycle import ExperimentStatus
from tuning.domain.names import EngineName
from tuning.models import Experiment, GpuLease, Lease, Task
from tuning.orchestrator.advance import advance
from tuning.orchestrator.card_sizes import Fits, large_enough, suited_cards
from tuning.orchestrator.gpus import claim_with_gpus
from tuning.orchestrator.run_experiment import run_experiment

MakeTask = Callable[..., Task]

SMALL, LARGE = 24_564.0, 81_559.0
MIXED = {0: SMALL, 1: LARGE, 2: SMALL, 3: LARGE}


def needs(mib: float) -> Fits:
    """An engine whose every card has to hold so much."""
    return lambda cards_mib: min(cards_mib) >= mib


def needs_in_all(mib: float) -> Fits:
    return lambda cards_mib: sum(cards_mib) >= mib


def on(sizes: dict[int, float]) -> HostCards:
    return HostCards("here", tuple(sizes), memory_mib=sizes)


def never(cards_mib: Sequence[float]) -> bool:
    raise AssertionError("nothing had to be estimated")


@pytest.mark.parametrize("sizes", [{}, {0: LARGE, 1: LARGE}, {0: LARGE, 1: LARGE * 0.99}])
def test_cards_of_one_size_are_all_the_same_and_cost_no_estimate(sizes: dict[int, float]) -> None:
    assert suited_cards(on(sizes), 1, never) is None


def test_cards_that_do_not_tell_their_size_are_not_chosen_among() -> None:
    cards = HostCards("here", (0, 1, 2), memory_mib={0: SMALL, 1: LARGE})
    assert suited_cards(cards, 1, never) is None


@pytest.mark.parametrize(
    ("gpus", "fits", "suited"),
    [
        (1, needs(1_000), {0, 1, 2, 3}),
        (1, needs(50_000), {1, 3}),
        (2, needs(50_000), {1, 3}),
        (4, needs(20_000), {0, 1, 2, 3}),
        # Too big for any of them: whichever it gets, it is refused with the numbers.
        (1, needs(100_000), None),
        (3, needs(50_000), None),
        # Not even the smallest of three cards thrice, but the three largest together.
        (3, needs_in_all(180_000), {1, 3, 0}),
        (2, needs_in_all(160_000), {1, 3}),
    ],
)
def test_the_cards_that_will_do(gpus: int, fits: Fits, suited: set[int] | None) -> None:
    assert suited_cards(on(MIXED), gpus, fits) == suited


def test_what_only_fits_on_another_host_is_left_to_it() -> None:
    here, fits = on({0: SMALL, 1: SMALL}), needs(50_000)
    assert suited_cards(here, 1, fits, [[LARGE, LARGE]]) == frozenset()
    assert suited_cards(here, 2, fits, [[LARGE]]) is None
    assert suited_cards(here, 1, fits, [[SMALL * 2]]) is None


def test_too_few_cards_are_never_large_enough() -> None:
    assert large_enough({0: LARGE}, 2, needs(1.0)) == frozenset()


@pytest.mark.django_db
def test_an_experiment_waits_for_a_large_card_while_small_ones_are_free(
    make_task: MakeTask,
) -> None:
    host = FakeHost(gpus=4, sizes=MIXED, model_mib=50_000, in_use={3})
    said: list[str] = []
    first, second = pending(gpu_task(make_task), 1, 1)
    lease = claim_with_gpus(first, ports_on(host))
    assert lease is not None
    assert lease.gpus == (1,)
    assert claim_with_gpus(second, ports_on(host, said)) is None
    assert said == ["Experiment 1: waits for 1 GPUs that are large enough; 0 are free."]
    host.in_use = set()
    lease = claim_with_gpus(second, ports_on(host))
    assert lease is not None
    assert lease.gpus == (3,)


@pytest.mark.django_db
def test_a_host_with_small_cards_leaves_it_to_the_one_with_large_ones(make_task: MakeTask) -> None:
    live_worker("large-host", gpus=1, cards_mib=[LARGE])
    small = FakeHost(gpus=2, sizes={0: SMALL, 1: SMALL}, model_mib=50_000)
    large = FakeHost(gpus=1, sizes={0: LARGE}, model_mib=50_000, name="large-host")
    (experiment_id,) = pending(gpu_task(make_task), 1)
    assert claim_with_gpus(experiment_id, ports_on(small)) is None
    assert claim_with_gpus(experiment_id, ports_on(large)) is not None


@pytest.mark.django_db
def test_a_driver_has_this_host_alone(make_task: MakeTask) -> None:
    live_worker("large-host", gpus=1, cards_mib=[LARGE])
    task = gpu_task(make_task)
    Task.objects.filter(pk=task.pk).update(driver="here/1/1.00")
    small = FakeHost(gpus=2, sizes={0: SMALL, 1: SMALL}, model_mib=50_000)
    (experiment_id,) = pending(task, 1)
    assert claim_with_gpus(experiment_id, ports_on(small)) is not None


@pytest.mark.django_db
@pytest.mark.parametrize(("gpus", "taken"), [(0, 0), (2, 1)])
def test_an_engine_that_can_do_without_takes_none_where_there_are_none(
    make_task: MakeTask, gpus: int, taken: int
) -> None:
    (experiment_id,) = pending(gpu_task(make_task), 1)
    lease = claim_with_gpus(experiment_id, ports_on(FakeHost(gpus=gpus, runs_on_cpu=True)))
    assert lease is not None
    assert len(lease.gpus) == taken
    assert Experiment.objects.get(pk=experiment_id).gpus_needed == taken


@pytest.mark.django_db
def test_it_waits_for_the_cards_of_another_host(make_task: MakeTask) -> None:
    live_worker("elsewhere", gpus=2)
    (experiment_id,) = pending(gpu_task(make_task), 1)
    assert claim_with_gpus(experiment_id, ports_on(FakeHost(gpus=0, runs_on_cpu=True))) is None


@pytest.mark.django_db
def test_cards_that_only_docker_has_are_none_for_a_process_of_this_host(
    make_task: MakeTask, tmp_path: Path
) -> None:
    host = FakeHost(gpus=2, only_for_containers=True)
    task = gpu_task(make_task)
    in_docker, locally = pending(task, 1), gpu_task(make_task)
    lease = claim_with_gpus(in_docker[0], ports_on(host))
    assert lease is not None
    assert lease.gpus == (0,)
    Task.objects.filter(pk=locally.pk).update(spec={**locally.spec, "deployment_mode": "local"})
    lease = claim_with_gpus(pending(locally, 1)[0], ports_on(host))
    assert lease is not None
    assert lease.gpus == ()


@pytest.mark.django_db(transaction=True)
def test_a_model_too_big_for_its_cards_is_the_configurations_own_fault(
    make_task: MakeTask, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    card = Gpu(0, "GPU-0", "a card", H100, 0.0)
    controller = LocalController(
        tmp_path,
        models,
        PORT_RANGE,
        {EngineName.VLLM: FakeVllm()},
        read_cards=lambda: GpuInventory((card,)),
    )
    task = make_task(
        base_runtime="vllm",
        model={"id_or_path": model_in(models)},
        parameters={"max-model-len": [2048, 4096]},
        optimization={"baseline": False},
    )
    ports = ports_on(FakeHost(gpus=1, takes=1), controller=controller)
    for number in (1, 2):
        (experiment_id,) = advance(task.pk).ready
        assert run_experiment(experiment_id, ports) is ExperimentStatus.FAILED
        experiment = Experiment.objects.get(pk=experiment_id)
        assert (experiment.number, experiment.attempt) == (number, 1)
        assert experiment.failure_kind == "out_of_memory"
        assert experiment.failure_message.startswith("Too big: the weights take at least")
        assert experiment.command == []
    # Another configuration may fit, so that all are tried before the task is given up.
    assert advance(task.pk).finished
    assert not Lease.objects.exists()
    assert not GpuLease.objects.exists()
