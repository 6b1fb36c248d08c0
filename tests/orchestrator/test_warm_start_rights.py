"""Which tasks may be named to start from, and who may learn from what."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission, User

from tests.past_tasks import past_task, spec_of, started, warm
from tuning import actions
from tuning.actions import ActionRefused
from tuning.domain.lifecycle import TaskStatus
from tuning.domain.spec import InvalidTask
from tuning.models import Experiment, Task
from tuning.orchestrator.advance import advance
from tuning.orchestrator.control import queue, submit
from tuning.orchestrator.warm_starting import (
    NAMED_AT_LEAST,
    learnt_from,
    useless,
)

pytestmark = pytest.mark.django_db


# --- Named tasks ---


def test_named_tasks_are_used_and_no_others() -> None:
    past_task()
    named = past_task(benchmark={"num_concurrency": [4096], "traffic_scenarios": ["D(9,900000)"]})
    task = started(spec_of([named.pk]))
    assert warm(task) == [named.pk]
    assert task.earlier_tasks[0].similarity == NAMED_AT_LEAST
    assert task.started_from == f"Started from task {named.pk} (similarity 0.30)."


def test_what_is_named_and_useless_is_refused_in_its_place() -> None:
    good = past_task()
    foreign = past_task(
        base_runtime="vllm", parameters={"max-num-seqs": [1, 2, 4]}, speed=lambda _: 1.0
    )
    few = past_task(count=2)
    single = past_task(parameters={"batch-size": 16, "threads": [1, 2, 4]}, speed=lambda _: 1.0)
    Experiment.objects.filter(task=single).update(parameters={"batch-size": 16, "threads": 1})
    spec = spec_of([good.pk, foreign.pk, few.pk, single.pk, 10**9])
    with pytest.raises(InvalidTask) as refusal:
        submit(spec)
    assert [str(problem) for problem in refusal.value.problems] == [
        "optimization.warm_start[1]: tuned vllm, and this task tunes llamacpp "
        f"(found {foreign.pk})",
        "optimization.warm_start[2]: has measured 2 of its configurations; it takes 3 to learn "
        f"from (found {few.pk})",
        "optimization.warm_start[3]: has measured no configurations between which this task's "
        f"flags differ and all others do not (found {single.pk})",
        "optimization.warm_start[4]: is no task, or belongs to somebody else (found 1000000000)",
    ]
    assert Task.objects.count() == 4, "nothing was stored"


def test_a_draft_may_name_anything_until_it_is_started(owner: User) -> None:
    draft = actions.create(spec_of([10**9]), owner, start=False)
    with pytest.raises(InvalidTask):
        queue(draft.pk)
    with pytest.raises(ActionRefused, match=r"optimization\.warm_start\[0\]: is no task"):
        actions.start(draft)
    draft.refresh_from_db()
    assert draft.state is TaskStatus.DRAFT


# --- Who may learn from what ---


def test_nobody_learns_from_what_they_may_not_see(owner: User, stranger: User) -> None:
    secret = past_task(stranger)
    own = past_task(owner)
    assert warm(started(spec_of(True), owner=owner)) == [own.pk]
    spec = spec_of([own.pk, secret.pk])
    (problem,) = useless(spec, owner)
    assert problem.path == "optimization.warm_start[1]"
    (unknown,) = useless(spec_of([10**9]), owner)
    assert problem.message == unknown.message, "it looks like none at all"
    with pytest.raises(InvalidTask):
        submit(spec, owner=owner)


def test_a_right_that_is_gone_by_the_start_is_gone(owner: User, stranger: User) -> None:
    secret = past_task(stranger)
    owner.user_permissions.add(Permission.objects.get(codename="view_task"))
    task = submit(spec_of([secret.pk]), owner=User.objects.get(pk=owner.pk))
    owner.user_permissions.clear()
    advance(task.pk)
    task.refresh_from_db()
    assert task.warm_start == []


def test_a_right_that_is_lost_meanwhile_is_lost(owner: User, stranger: User) -> None:
    secret, own = past_task(stranger), past_task(owner)
    owner.user_permissions.add(Permission.objects.get(codename="view_task"))
    task = started(spec_of([secret.pk, own.pk]), owner=User.objects.get(pk=owner.pk))
    assert len(learnt_from(task, task.parsed_spec())) == 2
    owner.user_permissions.clear()
    task = Task.objects.get(pk=task.pk)
    assert len(learnt_from(task, task.parsed_spec())) == 1


def test_who_sees_all_learns_from_all(owner: User, stranger: User, admin_user: User) -> None:
    tasks = {past_task(owner).pk, past_task(stranger).pk, past_task(None).pk}
    assert set(warm(started(spec_of(True), owner=admin_user))) == tasks
    assert set(warm(started(spec_of(True), owner=None))) >= tasks
