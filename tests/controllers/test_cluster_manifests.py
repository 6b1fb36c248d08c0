"""What is in a Kubernetes object is what was put in, or the field is named that can't be."""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from controllers.cluster.documents import UrlAddress
from controllers.cluster.manifests import Manifests, UnfilteredValue, UnrenderableValue
from controllers.cluster.settings import TEMPLATES_DIR
from tests.controllers.cluster_samples import DOCUMENTS, JOB, MANIFESTS, SERVICE

TEMPLATES = sorted(path.name.removesuffix(".yaml.j2") for path in TEMPLATES_DIR.iterdir())
PRINTED = re.compile(r"\{\{[^}]*?(?P<filter> *\| *(value|block\(\d+\)))")

HOSTILE = [
    *("", " ", " leading", "trailing ", "a: b", "- a", "# no comment", "a #b", "&anchor", "*alias"),
    *(
        "!!int 3",
        "{{ name }}",
        "{% raw %}",
        "{# #}",
        "{a: b}",
        "[1]",
        "|",
        ">",
        "'",
        '"',
        "\\",
        "%",
    ),
    *(
        "true",
        "yes",
        "NO",
        "on",
        "null",
        "~",
        "<<",
        "=",
        ".inf",
        ".nan",
        "1e3",
        "0o7",
        "0x1f",
        "1_0",
    ),
    *(
        "1",
        "1.0",
        "-1",
        "+1",
        "12:30:45",
        "2024-01-01",
        "$(HOME)",
        "$$",
        "line\nbreak",
        "tab\t",
        "\r",
    ),
    *(
        "\n\n",
        "---",
        "...",
        "\x01",
        "\x1b[31m",
        "\x7f",
        "\x85",
        "\u2028",
        "\ufeff",
        "\ufffe",
        "é",
        "漢",
    ),
    *("😀", "\u202e", "y", "n", "'; kubectl delete ns team; '", "kind: Evil", "x" * 100_000),
]
UNWRITABLE = ["\0", "a\0b", "\ud800", "a\udfffb"]


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda text: repr(text[:20]))
def test_hostile_arguments_come_out_as_they_went_in(hostile: str) -> None:
    service = dataclasses.replace(SERVICE, args=["--flag", hostile, "--last"])
    text = service.text(MANIFESTS)

    for document in (service.document(MANIFESTS), yaml.safe_load(text)):
        assert document["spec"]["engine"]["runner"]["args"] == ["--flag", hostile, "--last"]
    assert text.isascii() or hostile.isprintable()


@pytest.mark.parametrize("unwritable", UNWRITABLE)
def test_what_no_text_can_have_is_refused_by_its_place(unwritable: str) -> None:
    with pytest.raises(UnrenderableValue, match=r"^args\[1\]: ") as caught:
        dataclasses.replace(SERVICE, args=["--flag", unwritable]).document(MANIFESTS)

    assert caught.value.field == "args[1]"


@given(hostile=st.text())
def test_any_text_anywhere_comes_out_exactly_or_is_refused(hostile: str) -> None:
    places: dict[str, tuple[Any, Callable[[Any], Any]]] = {
        "args": ([hostile], lambda one: one["spec"]["engine"]["runner"]["args"]),
        "namespace": (hostile, lambda one: one["metadata"]["namespace"]),
        "name": (hostile, lambda one: one["metadata"]["name"]),
        "labels": ({hostile: hostile}, lambda one: one["spec"]["engine"]["labels"]),
        "node_selector": ({"zone": hostile}, lambda one: one["spec"]["engine"]["nodeSelector"]),
        "tolerations": ([{hostile: hostile}], lambda one: one["spec"]["engine"]["tolerations"]),
        "gpu_resource": (
            hostile,
            lambda one: next(iter(one["spec"]["engine"]["runner"]["resources"]["limits"])),
        ),
    }
    untouched = SERVICE.document(MANIFESTS)
    for field, (value, found) in places.items():
        try:
            document = dataclasses.replace(SERVICE, **{field: value}).document(MANIFESTS)
        except UnrenderableValue as error:
            assert error.field  # noqa: PT017 - a refusal is one of two right outcomes
            continue
        assert found(document) == value
        assert document.keys() == untouched.keys()
        assert document["kind"] == "InferenceService"


@given(hostile=st.text())
def test_any_text_in_a_benchmark_job_comes_out_exactly_or_is_refused(hostile: str) -> None:
    job = dataclasses.replace(
        JOB,
        address=UrlAddress(hostile, hostile, hostile),
        scenarios=[hostile],
        request_params={hostile: hostile},
        storage_uri=hostile,
        result_folder=hostile,
        env={"A": hostile},
    )
    try:
        spec = job.document(MANIFESTS)["spec"]
    except UnrenderableValue:
        assert "\0" in hostile
        return
    assert spec["endpoint"]["endpoint"] == dict.fromkeys(("url", "apiFormat", "modelName"), hostile)
    assert spec["trafficScenarios"] == [hostile]
    assert spec["additionalRequestParams"] == {hostile: hostile}
    assert (spec["outputLocation"]["storageUri"], spec["resultFolderName"]) == (hostile, hostile)
    assert spec["podOverride"]["env"] == [{"name": "A", "value": hostile}]


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), inner
        )
    ),
)


@given(spec=st.dictionaries(st.sampled_from(["a", "b b", "1", "true"]), _JSON, min_size=1))
def test_any_nested_value_comes_out_exactly(spec: dict[str, Any]) -> None:
    document = MANIFESTS.render(
        "serving_runtime", kind="ServingRuntime", name="own", namespace=None, labels={}, spec=spec
    )

    assert _typed(document["spec"]) == _typed(spec)


def _typed(value: Any) -> Any:
    """With the types, as 1, 1.0 and True are equal in Python."""
    if isinstance(value, dict):
        return [(key, _typed(item)) for key, item in value.items()]
    if isinstance(value, list):
        return [_typed(item) for item in value]
    return type(value), value


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("labels", {"autotuner/task": 17}, "labels.autotuner/task"),
        ("labels", {"autotuner/task": True}, "labels.autotuner/task"),
        ("labels", {"task": "x" * 64}, "labels.task"),
        ("labels", {"task": "a b"}, "labels.task"),
        ("labels", {"task": "-a"}, "labels.task"),
        ("labels", {"task": "é"}, "labels.task"),
        ("labels", {"a b": "c"}, "labels.a b"),
        ("labels", {"Up.Case/name": "c"}, "labels.Up.Case/name"),
        ("labels", {"": "c"}, "labels."),
        ("node_selector", {"zone": "a/b"}, "nodeSelector.zone"),
        ("name", "Service", "metadata.name"),
        ("name", "1service", "metadata.name"),
        ("name", "a" * 64, "metadata.name"),
        ("namespace", "a.b", "metadata.namespace"),
        ("namespace", "", "metadata.namespace"),
        ("args", [float("nan")], "args[0]"),
        ("args", [2**63], "args[0]"),
        ("args", [object()], "args[0]"),
        ("args", [b"bytes"], "args[0]"),
    ],
)
def test_what_kubernetes_would_refuse_is_refused_by_its_field(
    field: str, value: Any, named: str
) -> None:
    with pytest.raises(UnrenderableValue) as caught:
        dataclasses.replace(SERVICE, **{field: value}).document(MANIFESTS)

    assert named in caught.value.field
    assert str(caught.value).startswith(caught.value.field)


@pytest.mark.parametrize("value", ["", "a", "A-b_c.d", "x" * 63, "1", "true", "1e3"])
def test_labels_that_kubernetes_takes_stay_texts(value: str) -> None:
    document = dataclasses.replace(SERVICE, labels={"x.io/a": value}).document(MANIFESTS)

    assert document["metadata"]["labels"] == {"x.io/a": value}
    assert document["spec"]["engine"]["labels"] == {"x.io/a": value}


def test_an_object_too_large_for_the_server_is_refused() -> None:
    with pytest.raises(UnrenderableValue, match="too many for one Kubernetes object"):
        dataclasses.replace(SERVICE, args=["x" * 100_000] * 11).document(MANIFESTS)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_document_is_as_its_text_says(name: str) -> None:
    document = DOCUMENTS[name]

    assert yaml.safe_load(document.text(MANIFESTS)) == document.document(MANIFESTS)


def test_every_template_is_among_the_documents() -> None:
    assert {document.template for document in DOCUMENTS.values()} == set(TEMPLATES)


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_value_printed_without_a_filter_is_an_error(template: str, tmp_path: Path) -> None:
    """Each `{{ … }}` of each template in turn loses its filter."""
    source = (TEMPLATES_DIR / f"{template}.yaml.j2").read_text()
    samples = [one for one in DOCUMENTS.values() if one.template == template]
    printed = list(PRINTED.finditer(source))
    assert len(printed) == source.count("{{")

    for place in printed:
        start, end = place.span("filter")
        directory = tmp_path / str(start)
        shutil.copytree(TEMPLATES_DIR, directory)
        (directory / f"{template}.yaml.j2").write_text(source[:start] + source[end:])
        manifests = Manifests(directory)
        assert any(_fails(sample, manifests) for sample in samples)


def _fails(sample: Any, manifests: Manifests) -> bool:
    try:
        sample.document(manifests)
    except UnfilteredValue as error:
        return "printed without the filter" in str(error)
    return False


@pytest.mark.parametrize(
    ("template", "values", "said"),
    [
        ("name: {{ name | value }}", {"nmae": "x"}, "uses no .'nmae'. and is not given .'name'."),
        ("name: {{ name | value }}", {}, "is not given .'name'."),
    ],
)
def test_a_misspelt_value_is_an_error(
    template: str, values: dict[str, str], said: str, tmp_path: Path
) -> None:
    (tmp_path / "one.yaml.j2").write_text(template)

    with pytest.raises(TypeError, match=said):
        Manifests(tmp_path).render("one", **values)


@pytest.mark.parametrize(
    "template",
    [
        'name: "{{ name | value }}"',
        "name: x{{ name | value }}",
        "# {{ name | value }}\nname: a",
        "{{ name | value }}: a",
        "name: |\n  {{ name | value }}",
    ],
)
@pytest.mark.parametrize("name", ["a b", "a\nkind: Evil"])
def test_a_value_in_a_place_where_it_is_no_value_is_refused(
    template: str, name: str, tmp_path: Path
) -> None:
    source = f"apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n  labels: {{}}\n{template}\n"
    (tmp_path / "one.yaml.j2").write_text(source)

    try:
        document = Manifests(tmp_path).render("one", name=name)
    except (UnrenderableValue, yaml.YAMLError):
        return
    assert document["kind"] == "Pod"
    assert document == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "labels": {}},
        **({"name": "a"} if template.startswith("#") else {name: "a"}),
    }


def test_a_key_twice_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "one.yaml.j2").write_text("a: {{ name | value }}\na: 2\n")

    with pytest.raises(yaml.YAMLError, match="a key twice"):
        Manifests(tmp_path).render("one", name="x")


def test_a_value_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "one.yaml.j2").write_text("a: {{ model.nmae | value }}\n")

    with pytest.raises(jinja2.UndefinedError, match="nmae"):
        Manifests(tmp_path).render("one", model={"name": "x"})
