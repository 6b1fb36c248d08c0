"""Prints the JSON Schema of the task file, as it stands in docs/task.schema.json."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand

from tuning.domain.spec import task_json_schema


class Command(BaseCommand):
    help = "Print the JSON Schema of the task file, for editors and forms."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(json.dumps(task_json_schema(), indent=2, ensure_ascii=False))
