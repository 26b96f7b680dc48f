"""The chart for Kubernetes: rendered as Helm does, held against the schemas of several versions and against the suite.

`make chart` installs what this needs; there is no cluster here, so nothing of it was ever applied.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from chassis.system import ACCEPT, CALLS, GATEWAY, TARGETS, service_of
from tests.contract.reasons import ROOT

helm = pytest.importorskip("helm_python", reason="`make chart` installs what looks at the chart")
kubernetes_validate = pytest.importorskip("kubernetes_validate")
yaml = pytest.importorskip("yaml")

CHART = ROOT / "deploy" / "chart"
VERSIONS = ("1.29", "1.33", "1.37")
INGRESS = {"ingress": {"enabled": True, "host": "prosa.example.com", "tlsSecret": "tls", "className": "nginx"}}
KINDS_EACH = ("Deployment", "Service", "ServiceAccount", "PodDisruptionBudget", "NetworkPolicy")
NAMES = [target.name for target in TARGETS]

WRONG: dict[str, dict[str, Any]] = {
    "replica": {"replica": 3},
    "tagg": {"image": {"repository": "prosa", "tagg": "1"}},
    "publicUrl": {"publicUrl": "http://prosa.example.com"},
    "logLevel": {"logLevel": "loud"},
    "port": {"servers": {"nats": {"cidr": "10.0.0.0/8", "port": 0}}},
    "cidr": {"servers": {"nats": {"cidr": "anywhere", "port": 4222}}},
    "databases": {"secrets": {"databases": "Not A Name"}},
    "host": {"ingress": {"enabled": True}},
    "billing": {"targets": {"billing": {}}},
    "replicas": {"targets": {"crm": {"replicas": -1}}},
    "limits": {"targets": {"crm": {"resources": {"limits": {"gpu": "1"}}}}},
    "trustedProxies": {"trustedProxies": "10.0.0.0/8"},
}
"""Values that somebody may write, by what the refusal must name."""


def render(values: dict[str, Any]) -> list[dict[str, Any]]:
    """All objects that Helm would apply."""
    with helm.Chart.load(str(CHART)) as chart:
        made = chart.render(values, name="demo", namespace="prosa")
    texts = [text for name, text in made.items() if not name.endswith("NOTES.txt")]
    return [found for text in texts for found in yaml.safe_load_all(text) if found]


@pytest.fixture(scope="module")
def objects() -> list[dict[str, Any]]:
    return render({"trustedProxies": ["10.0.0.0/8"], **INGRESS})


def of_kind(objects: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    """The objects of one kind, by target."""
    return {
        found["metadata"]["labels"]["app.kubernetes.io/component"]: found for found in objects if found["kind"] == kind
    }


def pods(objects: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """What runs in each pod."""
    for found in objects:
        if found["kind"] in {"Deployment", "Job"}:
            yield found["spec"]["template"]["spec"]


def test_helm_has_nothing_against_it() -> None:
    messages = helm.lint(str(CHART))
    assert [str(message) for message in getattr(messages, "messages", messages) if "ERROR" in str(message)] == []


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_one_that_kubernetes_knows(objects: list[dict[str, Any]], version: str) -> None:
    for found in objects:
        # Raises where a field is unknown or of another type.
        assert kubernetes_validate.validate(found, version, strict=True) == version, found["kind"]


@pytest.mark.parametrize("kind", KINDS_EACH)
def test_each_target_has_one(objects: list[dict[str, Any]], kind: str) -> None:
    assert sorted(of_kind(objects, kind)) == sorted(NAMES)


def test_each_serves_its_target_as_its_service(objects: list[dict[str, Any]]) -> None:
    for target, found in of_kind(objects, "Deployment").items():
        [container] = found["spec"]["template"]["spec"]["containers"]
        assert container["args"] == ["serve", "--target", target]
        names = {variable["name"] for variable in container["env"]}
        databases = {name for name in names if name.endswith("_DATABASE_URL")}
        own = {f"PROSA_{service_of(target).upper()}_DATABASE_URL"} if target != GATEWAY else set()
        assert databases == own, "no other service's database, and the gateway none"
        assert {f"PROSA_{other.upper().replace('-', '_')}_ADDRESS" for other in NAMES if other != GATEWAY} <= names


def test_policies_let_through_who_may_call_whom_and_nobody_else(objects: list[dict[str, Any]]) -> None:
    policies = of_kind(objects, "NetworkPolicy")
    # Whoever may call a service may call each target that answers for it. The acceptor stores, and calls nobody.
    allowed = {
        (caller, callee)
        for caller in NAMES
        for callee in NAMES
        if callee != GATEWAY
        and caller != ACCEPT
        and service_of(callee) in CALLS[service_of(caller)] - {service_of(caller)}
    }
    assert _edges(policies, "egress") == allowed
    assert {(caller, callee) for callee, caller in _edges(policies, "ingress")} == allowed


def _edges(policies: dict[str, dict[str, Any]], way: str) -> set[tuple[str, str]]:
    place = "to" if way == "egress" else "from"
    return {
        (target, peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"])
        for target, policy in policies.items()
        for rule in policy["spec"][way]
        for peer in rule[place]
        if "app.kubernetes.io/component" in peer.get("podSelector", {}).get("matchLabels", {})
    }


def test_a_pod_may_do_nothing_but_run_its_program(objects: list[dict[str, Any]]) -> None:
    found = list(pods(objects))
    assert len(found) == len(NAMES) + 1, "each target, and the migration"
    for pod in found:
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        [container] = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "memory" in container["resources"]["limits"]
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}


def test_each_pod_is_asked_whether_it_lives_and_is_ready(objects: list[dict[str, Any]]) -> None:
    for found in of_kind(objects, "Deployment").values():
        [container] = found["spec"]["template"]["spec"]["containers"]
        asked = {
            probe: container[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")
        }
        assert asked == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
        assert found["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_migrations_come_before_the_pods_and_alone_may_change_schemas(objects: list[dict[str, Any]]) -> None:
    [job] = [found for found in objects if found["kind"] == "Job"]
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    [container] = job["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["migrate"]
    named = [source["secretRef"]["name"] for source in container["envFrom"]]
    assert named == ["prosa-databases", "prosa-migration"]
    others = [found for found in objects if found is not job]
    assert "prosa-migration" not in str(others)


@pytest.mark.parametrize("name", WRONG)
def test_wrong_values_are_refused_by_name(name: str) -> None:
    with pytest.raises(helm.HelmError, match=name):
        render(copy.deepcopy(WRONG[name]))
