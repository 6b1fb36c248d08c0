"""The docker mode as a user has it, against a real Docker engine."""
