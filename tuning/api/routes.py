"""The API as a whole: its addresses, and what holds for all of them."""

from __future__ import annotations

from typing import Any, cast

from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.urls import URLPattern, URLResolver, re_path
from django.views.decorators.http import require_GET
from ninja import NinjaAPI, Swagger
from ninja.errors import ValidationErrorContext
from ninja.operation import Operation

from autotuner_site import __version__
from tuning.api import experiments, logs, openapi, system, tasks
from tuning.api.authentication import gate
from tuning.api.errors import InvalidParameters, answer_to
from tuning.api.renderer import Renderer
from tuning.domain.spec import Problem
from tuning.domain.spec_errors import shown

DOCS = "openapi-view"
ROOT = "api-root"
"""What ninja calls its page of documentation, and the address that all others begin with."""


class Api(NinjaAPI):
    """Ninja's API behind one gate, with one shape of errors."""

    @property
    def urls(self) -> tuple[list[URLResolver | URLPattern], str, str]:
        """Everything below the root is the API's, also what is not there."""
        patterns, app_name, namespace = super().urls
        addresses = [one for one in patterns if isinstance(one, URLPattern) and one.name != ROOT]
        for address in addresses:
            # The documentation is a page, so it asks for a sign-in as pages do.
            if address.name != DOCS:
                address.callback = gate(address.callback)
        return [*addresses, re_path("", gate(nothing_here), name=ROOT)], app_name, namespace

    def set_default_exception_handlers(self) -> None:
        # Ninja's annotation allows for classes of errors too, which are never handed over.
        self.add_exception_handler(Exception, cast(Any, answer_to))

    def validation_error_from_error_contexts(
        self, error_contexts: list[ValidationErrorContext[Any]]
    ) -> InvalidParameters:
        return InvalidParameters(
            Problem(_location(context.model, entry["loc"]), entry["msg"], shown(entry["input"]))
            for context in error_contexts
            for entry in context.pydantic_validation_error.errors(include_url=False)
        )

    def get_openapi_operation_id(self, operation: Operation) -> str:
        return operation.view_func.__name__

    def get_openapi_schema(self, **options: Any) -> Any:
        return openapi.completed(super().get_openapi_schema(**options))


def nothing_here(request: HttpRequest) -> HttpResponseBase:
    raise Http404(f"There is nothing at {request.path}; /api/docs lists all addresses.")


def _location(model: Any, path: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Where a parameter stands, `query.page`; ninja groups them in models of its own."""
    names: dict[tuple[str | int, ...], tuple[str, ...]] = model.__ninja_flatten_map_reverse__
    end = next((end for end in range(len(path), 0, -1) if path[:end] in names), 0)
    return (model.__ninja_param_source__, *names.get(path[:end], ()), *path[end:])


api = Api(
    title="LLM Inference Autotuner",
    version=__version__,
    description="Make tuning tasks, follow them, and take the results along.",
    urls_namespace="api",
    renderer=Renderer(),
    docs=Swagger(settings={"validatorUrl": None, "defaultModelsExpandDepth": 0}),
    docs_decorator=require_GET,
)
api.add_router("/tasks/", tasks.router)
api.add_router("", logs.router)
api.add_router("/experiments/", experiments.router)
api.add_router("", system.router)
