"""The page of an experiment, and its raw results."""

from __future__ import annotations

from django.conf import settings
from django.core.exceptions import BadRequest
from django.http import FileResponse, Http404, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_safe

from tuning.access import visible_experiment
from tuning.models import Experiment
from tuning.web.access import Request
from tuning.web.experiment_page import ExperimentPage, raw_document
from tuning.web.raw_files import TooLarge, archive, results_directory
from tuning.web.render import respond


@require_safe
def experiment_page(request: Request, experiment_id: int) -> HttpResponse:
    experiment = visible_experiment(request.user, experiment_id)
    page = ExperimentPage(experiment)
    if request.htmx and request.GET.get("seen") == page.seen:
        # A swap would take away what a reader has marked or scrolled to.
        return HttpResponse(status=204)
    context = {
        "page": page,
        "experiment": experiment,
        "task": experiment.task,
        "section": "tasks",
    }
    return respond(request, "experiments/detail.html", context, fragments=("experiment",))


@require_safe
def raw_results(request: Request, experiment_id: int) -> HttpResponseBase:
    """genai-bench's summary of each load point, or with `?format=zip` all that it wrote."""
    experiment = visible_experiment(request.user, experiment_id)
    name = f"task_{experiment.task_id}_experiment_{experiment.number}_raw"
    if request.GET.get("format") == "zip":
        return _zip(experiment, f"{name}.zip")
    response = JsonResponse(raw_document(experiment), json_dumps_params={"indent": 1})
    response["Content-Disposition"] = f'attachment; filename="{name}.json"'
    return response


def _zip(experiment: Experiment, name: str) -> FileResponse:
    directory = results_directory(settings.AUTOTUNER_RESULTS_DIR, experiment)
    try:
        file = archive(directory)
    except FileNotFoundError as gone:
        raise Http404(f"genai-bench's files of {experiment} are not on this host.") from gone
    except TooLarge as too_large:
        raise BadRequest(
            f"genai-bench's files of {experiment} are too large to download. They are in the "
            "results directory of this host."
        ) from too_large
    return FileResponse(file, as_attachment=True, filename=name)
