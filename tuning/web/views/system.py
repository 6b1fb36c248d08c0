"""What `doctor` says, and the installation's state."""

from __future__ import annotations

from django.http import HttpResponse
from django.views.decorators.http import require_GET

from tuning.system.bug_report import bug_report
from tuning.system.checks import all_needed_is_there, run_checks
from tuning.system.explanations import explanations
from tuning.system.status import system_status
from tuning.system.versions import versions
from tuning.web.access import Request, staff_only
from tuning.web.render import respond, wanted_fragment

CHECKS = "checks"
STATE = "state"


@require_GET
@staff_only
def system(request: Request) -> HttpResponse:
    """The page at once; its parts as fragments after it, because to look may take seconds."""
    wanted = wanted_fragment(request.htmx, [CHECKS, STATE])
    context: dict[str, object] = {}
    if wanted == CHECKS:
        checks = run_checks()
        context = {
            "checks": checks,
            "explanations": explanations(),
            "all_there": all_needed_is_there(checks),
            "report": bug_report(checks, versions()),
        }
    elif wanted == STATE:
        context = {"now": system_status()}
    return respond(request, "system.html", context, fragments=[CHECKS, STATE])
