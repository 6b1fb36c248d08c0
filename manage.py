#!/usr/bin/env python
"""Django's command line, with the autotuner's commands."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "autotuner_site.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        # A setting of the user's is wrong: the sentence says which, a traceback would bury it.
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
