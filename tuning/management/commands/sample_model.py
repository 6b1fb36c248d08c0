"""`manage.py sample_model`: put the sample model into the model directory."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from controllers.sample_model import SampleModelError, fetch_sample_model


class Command(BaseCommand):
    help = "Fetch SmolLM2-135M-Instruct (92 MB), the model of examples/local_task.json."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            path = fetch_sample_model(settings.AUTOTUNER_MODEL_PATH)
        except SampleModelError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Sample model: {path}")
