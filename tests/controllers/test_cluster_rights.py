"""docs/ome-rbac.yaml grants exactly what the autotuner needs; tests/cluster uses it."""

from __future__ import annotations

from controllers.cluster.rights import RIGHTS, Purpose
from tests.controllers.rbac_file import documents, granted, rules_of


def needed(*, cluster_wide: bool, extras: bool) -> set[tuple[str, str, str]]:
    return {
        (right.verb, right.group, right.resource)
        for right in RIGHTS
        if right.is_cluster_wide is cluster_wide and (right.purpose is Purpose.EXTRAS) is extras
    }


def test_the_role_has_what_is_needed_in_a_namespace_and_no_more() -> None:
    assert set(granted(rules_of("autotuner"))) == needed(cluster_wide=False, extras=False)


def test_the_cluster_role_has_what_is_needed_of_the_cluster_and_no_more() -> None:
    catalogue = set(granted(rules_of("autotuner-catalogue")))
    assert catalogue == needed(cluster_wide=True, extras=False)
    assert {verb for verb, _, _ in catalogue} == {"get", "list"}


def test_extras_are_of_the_cluster_alone() -> None:
    extras = set(granted(rules_of("autotuner-extras")))
    assert extras == needed(cluster_wide=True, extras=True)
    assert needed(cluster_wide=False, extras=True) == set()


def test_nothing_is_granted_twice() -> None:
    for name in ("autotuner", "autotuner-catalogue", "autotuner-extras"):
        rights = list(granted(rules_of(name)))
        assert len(rights) == len(set(rights))
    assert len(RIGHTS) == len({(one.verb, one.resource, one.is_cluster_wide) for one in RIGHTS})


def test_each_role_is_bound_to_the_service_account() -> None:
    bound = {
        one["roleRef"]["name"]: one["subjects"]
        for one in documents()
        if one["kind"].endswith("Binding")
    }
    account = {"kind": "ServiceAccount", "name": "autotuner", "namespace": "autotuner"}
    names = ("autotuner", "autotuner-catalogue", "autotuner-extras")
    assert bound == {name: [account] for name in names}


def test_no_right_is_a_wildcard() -> None:
    for name in ("autotuner", "autotuner-catalogue", "autotuner-extras"):
        assert not any("*" in part for right in granted(rules_of(name)) for part in right)
