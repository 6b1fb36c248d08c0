"""Signing in and out, the first user, the own password, and tokens for the API."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import UserCreationForm
from django.contrib.auth.models import User
from django.contrib.auth.views import LoginView, LogoutView, PasswordChangeView
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_POST

from tuning.models.api_token import ApiToken, issue_token
from tuning.web.access import Request
from tuning.web.first_user import opens_the_door


class SignIn(LoginView):
    template_name = "account/login.html"
    redirect_authenticated_user = True


class SignOut(LogoutView):
    pass


class ChangePassword(PasswordChangeView):
    template_name = "account/password.html"
    success_url = reverse_lazy("profile")

    def form_valid(self, form: Any) -> HttpResponse:
        messages.success(self.request, "Your password is changed.")
        return super().form_valid(form)


@login_not_required
@never_cache
@sensitive_post_parameters()
def first_user(request: HttpRequest, secret: str) -> HttpResponse:
    """The page behind the link that `serve` prints on a new installation."""
    if not opens_the_door(secret):
        raise Http404("This link has done its duty or is too old. Restart `serve` for a new one.")
    form: UserCreationForm[User] = UserCreationForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        user = _first_superuser(form, secret)
        login(request, user, backend="django.contrib.auth.backends.ModelBackend")
        return redirect("dashboard")
    return render(request, "account/first_user.html", {"form": form})


@transaction.atomic
def _first_superuser(form: UserCreationForm[User], secret: str) -> User:
    # Asked again inside the transaction, so that of two at once only one becomes the first.
    if not opens_the_door(secret):
        raise Http404("Somebody was quicker: this installation has its first user.")
    user = form.save(commit=False)
    user.is_staff = user.is_superuser = True
    user.save()
    return user


class TokenForm(forms.Form):
    name = forms.CharField(max_length=100, label="What is it for?")


@require_GET
@never_cache
def profile(request: Request) -> HttpResponse:
    return _profile(request, TokenForm())


@require_POST
@never_cache
def make_token(request: Request) -> HttpResponse:
    """The one answer that shows the secret."""
    form = TokenForm(request.POST)
    if not form.is_valid():
        return _profile(request, form, status=422)
    _, secret = issue_token(request.user, form.cleaned_data["name"])
    return _profile(request, TokenForm(), secret=secret)


@require_POST
def revoke_token(request: Request, token_id: int) -> HttpResponse:
    deleted, _ = ApiToken.objects.filter(pk=token_id, user=request.user).delete()
    if not deleted:
        raise Http404(f"You have no token {token_id}.")
    messages.success(request, "The token is revoked.")
    return redirect("profile")


@require_GET
def alive(request: Request) -> HttpResponse:
    """For a page that has lost the connection and wonders whether it is back."""
    return HttpResponse(status=204)


def _profile(
    request: Request, form: TokenForm, *, secret: str = "", status: int = 200
) -> HttpResponse:
    context = {"form": form, "secret": secret, "tokens": ApiToken.objects.filter(user=request.user)}
    return render(request, "account/profile.html", context, status=status)
