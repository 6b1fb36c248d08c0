"""Tokens with which programs use the API in a user's name."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime

from django.conf import settings
from django.contrib.auth.models import User
from django.db import models
from django.utils import timezone

PREFIX = "llmat_"
"""How every token begins, so that a scanner for leaked secrets knows one when it sees it."""

SHOWN_CHARACTERS = 4
"""How much of a token's end is kept readable, so that its owner can tell two apart."""


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    def usable(self, now: datetime) -> ApiTokenQuerySet:
        """Tokens that have not expired, of users who may sign in."""
        return self.filter(user__is_active=True).exclude(expires_at__lte=now)


class ApiToken(models.Model):
    """A bearer token. Only its SHA-256 is stored: it has 256 random bits, so no salt is needed."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens"
    )
    name = models.CharField(max_length=100, help_text="What it is for.")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    ending = models.CharField(max_length=SHOWN_CHARACTERS, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = ApiTokenQuerySet.as_manager()

    class Meta:
        ordering = ["user_id", "-created_at"]

    def __str__(self) -> str:
        return f"{self.name} (…{self.ending})"


def issue_token(user: User, name: str, expires_at: datetime | None = None) -> tuple[ApiToken, str]:
    """A new token: its row, and the secret itself, which nobody can read again."""
    secret = PREFIX + secrets.token_urlsafe(32)
    row = ApiToken.objects.create(
        user=user,
        name=name,
        digest=digest_of(secret),
        ending=secret[-SHOWN_CHARACTERS:],
        expires_at=expires_at,
    )
    return row, secret


def user_of_token(secret: str) -> User | None:
    """Whose token it is, or None for one that is unknown, expired, or of a disabled user."""
    now = timezone.now()
    found = ApiToken.objects.usable(now).select_related("user").filter(digest=digest_of(secret))
    token = found.first()
    if token is None:
        return None
    # Once a minute is exact enough for people, and spares a write at each request.
    if token.last_used_at is None or (now - token.last_used_at).total_seconds() > 60:
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
    return token.user


def digest_of(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
