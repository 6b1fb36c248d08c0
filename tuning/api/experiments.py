"""Experiments: what was tried, and what was measured."""

from __future__ import annotations

from ninja import Query, Router

from tuning.access import SignedInRequest, visible_experiment, visible_task
from tuning.api.errors import errors
from tuning.api.paging import Page, PageQuery
from tuning.documents.experiment import ExperimentDetail, ExperimentDocument, experiment_detail
from tuning.progress import NOT_SHOWN

router = Router(tags=["experiments"])


class ExperimentPage(Page[ExperimentDocument]):
    """Experiments of one task, the baseline first."""


@router.get(
    "/task/{int:task_id}",
    response={200: ExperimentPage, **errors(404, 422)},
    summary="List a task's experiments",
)
def list_experiments(
    request: SignedInRequest, task_id: int, paging: Query[PageQuery]
) -> ExperimentPage:
    experiments = visible_task(request.user, task_id).experiments.defer(*NOT_SHOWN)
    return ExperimentPage(
        items=[ExperimentDocument.model_validate(one) for one in paging.part_of(experiments)],
        total=experiments.count(),
        page=paging.page,
        page_size=paging.page_size,
    )


@router.get(
    "/{int:experiment_id}",
    response={200: ExperimentDetail, **errors(404)},
    summary="Get an experiment",
)
def get_experiment(request: SignedInRequest, experiment_id: int) -> ExperimentDetail:
    """With its measurements, command line, environment and the reason of its failure."""
    return experiment_detail(visible_experiment(request.user, experiment_id))
