"""Sentences of the program, and sizes, for templates."""

from __future__ import annotations

import re

from django import template
from django.utils.html import conditional_escape
from django.utils.safestring import SafeString, mark_safe

register = template.Library()

_COMMAND = re.compile(r"`([^`]+)`")
_GIB_IN_MIB = 1024


@register.filter
def marked(text: str) -> SafeString:
    """What stands in backquotes, as in the command line's messages, becomes code."""
    return mark_safe(_COMMAND.sub(r"<code>\1</code>", conditional_escape(text)))


@register.filter
def mebibytes(size: float | None) -> str:
    """`512 MiB`, `3.4 GiB`."""
    if size is None:
        return "\N{EN DASH}"
    return f"{size:.0f} MiB" if size < _GIB_IN_MIB else f"{size / _GIB_IN_MIB:.1f} GiB"
