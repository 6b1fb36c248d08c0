"""The API as a whole: its address, its authentication, its errors."""

from __future__ import annotations

from ninja import NinjaAPI

from autotuner_site import __version__

api = NinjaAPI(title="LLM Inference Autotuner", version=__version__, urls_namespace="api")
