"""Tasks and experiments as JSON: one source for `--json`, the live pages and the API.

Every field is named, described and typed here once; times are ISO 8601 in UTC, durations seconds.
"""
