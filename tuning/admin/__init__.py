"""Django's admin: to look into runs and to look after them. What was measured is read-only."""

from tuning.admin import logs, results, running, site, tasks, tokens

__all__ = ["logs", "results", "running", "site", "tasks", "tokens"]
