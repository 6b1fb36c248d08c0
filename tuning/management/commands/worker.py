"""`manage.py worker`: a Celery worker in this process."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from autotuner_site.celery import app
from tuning.database import DatabaseNotReady, prepare_database
from tuning.terminal.session import EXIT_BAD_INPUT


class Command(BaseCommand):
    help = (
        "Run experiments from the queue; the same as `celery -A autotuner_site worker`. When it is "
        "asked to stop (Ctrl-C, SIGTERM), running experiments go back to the queue."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--concurrency",
            type=int,
            metavar="N",
            help="experiments at once (default: AUTOTUNER_MAX_RUNNING_TASKS)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            prepare_database()
        except DatabaseNotReady as refusal:
            raise CommandError(str(refusal), returncode=EXIT_BAD_INPUT) from refusal
        concurrency: int | None = options["concurrency"]
        if concurrency is not None and concurrency < 1:
            raise CommandError("--concurrency: at least 1.", returncode=EXIT_BAD_INPUT)
        # Celery's own banner names broker and queue: wanted at a terminal, noise below `serve`.
        celery_options = ["--quiet"] if options["verbosity"] == 0 else []
        worker_options = [] if concurrency is None else [f"--concurrency={concurrency}"]
        app.worker_main([*celery_options, "worker", *worker_options])
