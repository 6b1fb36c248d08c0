"""The first user of an installation: made through a link that only the operator has seen.

There is no default password. The link is signed with the installation's key, holds for a day, and
is dead as soon as anybody can sign in.
"""

from __future__ import annotations

from django.contrib.auth.models import User
from django.core.signing import BadSignature, TimestampSigner
from django.urls import reverse

_SIGNER = TimestampSigner(salt="tuning.first-user")
_WORD = "first-user"
LINK_LIFETIME_S = 24 * 3600


def nobody_can_sign_in() -> bool:
    return not User.objects.filter(is_active=True).exclude(password="").exists()


def first_user_path() -> str:
    """Address of the page, below the site's root."""
    return reverse("first-user", kwargs={"secret": _SIGNER.sign(_WORD)})


def opens_the_door(secret: str) -> bool:
    """Whether this secret was made by `first_user_path`, lately, and is still needed."""
    try:
        known = _SIGNER.unsign(secret, max_age=LINK_LIFETIME_S) == _WORD
    except BadSignature:
        return False
    return known and nobody_can_sign_in()
