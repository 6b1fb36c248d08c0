"""The Django app of the autotuner."""

from __future__ import annotations

from django.apps import AppConfig


class TuningConfig(AppConfig):
    name = "tuning"
    verbose_name = "LLM inference autotuner"
