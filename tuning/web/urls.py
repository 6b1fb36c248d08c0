"""Addresses of the pages."""

from __future__ import annotations

from django.urls import path

from tuning.web.views import (
    account,
    charts,
    compare,
    containers,
    dashboard,
    experiments,
    exports,
    logs,
    new_task,
    system,
    task,
    task_list,
)

urlpatterns = [
    path("", dashboard.dashboard, name="dashboard"),
    path("tasks/", task_list.task_list, name="task-list"),
    path("tasks/bulk/<str:action>/", task_list.bulk, name="task-bulk"),
    path("tasks/import/", new_task.import_task, name="task-import"),
    path("tasks/new/", new_task.new_task, name="task-new"),
    path("tasks/new/preview/", new_task.preview, name="task-preview"),
    path("tasks/<int:task_id>/", task.task_page, name="task"),
    path("tasks/<int:task_id>/edit/", new_task.edit_task, name="task-edit"),
    path("tasks/<int:task_id>/duplicate/", task.duplicate, name="task-duplicate"),
    path("tasks/<int:task_id>/actions/<str:action>/", task.act, name="task-action"),
    path("tasks/<int:task_id>/charts/", charts.task_charts, name="task-charts"),
    path("tasks/<int:task_id>/winner/", exports.winner, name="task-winner"),
    path("tasks/<int:task_id>/export/<str:kind>/", exports.export, name="task-export"),
    path("tasks/<int:task_id>/logs/", logs.task_log, name="task-log"),
    path("tasks/<int:task_id>/logs/download/", logs.download, name="task-log-download"),
    path("tasks/<int:task_id>/logs/lines/", logs.lines, name="task-log-lines"),
    path("experiments/<int:experiment_id>/", experiments.experiment_page, name="experiment"),
    path("experiments/<int:experiment_id>/raw/", experiments.raw_results, name="experiment-raw"),
    path("compare/", compare.compare, name="compare"),
    path("containers/", containers.container_list, name="containers"),
    path("containers/<str:name>/logs/", containers.container_log, name="container-log"),
    path("containers/<str:name>/stop/", containers.stop, name="container-stop"),
    path("system/", system.system, name="system"),
    path("login/", account.SignIn.as_view(), name="login"),
    path("logout/", account.SignOut.as_view(), name="logout"),
    path("first-user/<str:secret>/", account.first_user, name="first-user"),
    path("account/", account.profile, name="profile"),
    path("account/alive/", account.alive, name="alive"),
    path("account/password/", account.ChangePassword.as_view(), name="password-change"),
    path("account/tokens/", account.make_token, name="token-make"),
    path("account/tokens/<int:token_id>/revoke/", account.revoke_token, name="token-revoke"),
]
