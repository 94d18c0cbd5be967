"""What users rely on beyond the recordings: import, upsert, patches, waiting, ignored changes, Helm's failures."""

import base64
import json
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.cluster import pulumi_runs
from tests.cluster.pulumi_runs import Bench, Program

pytestmark = pytest.mark.cluster

_HEADER = """
import pulumi, pulumi_kubernetes as k8s
from pulumi import ResourceOptions as Options
space = pulumi.Config().require("space")
"""
_NAMESPACE = 'space = k8s.core.v1.Namespace("space", metadata={"name": space}).metadata["name"]\n'

Write = Callable[..., Program]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    yield from pulumi_runs.bench(tmp_path_factory.mktemp("features"))


@pytest.fixture
def write(bench: Bench, tmp_path: Path, request: pytest.FixtureRequest) -> Write:
    """Give a function that makes a program in a namespace of its own. What it leaves goes with the cluster."""
    return _writer(bench, tmp_path, "t" + str(abs(hash(request.node.name)))[:10])


def _writer(bench: Bench, tmp_path: Path, space: str) -> Write:
    made: list[Program] = []

    def write_(code: str, *, namespace: bool = True) -> Program:
        folder = tmp_path / f"program{len(made)}"
        folder.mkdir()
        (folder / "Pulumi.yaml").write_text("name: features\nruntime: python\n")
        (folder / "Pulumi.dev.yaml").write_text(f"config: {{features:space: {space}}}\n")
        (folder / "__main__.py").write_text(_HEADER + (_NAMESPACE if namespace else "") + code)
        program = Program(bench, folder, tmp_path / f"state{len(made)}")
        made.append(program)
        return program

    return write_


def _change(program: Program, old: str, new: str) -> None:
    main = program.folder / "__main__.py"
    text = main.read_text()
    assert old in text
    main.write_text(text.replace(old, new))


def _space(program: Program) -> str:
    return yaml.safe_load((program.folder / "Pulumi.dev.yaml").read_text())["config"]["features:space"]


_CONFIG_MAP = 'k8s.core.v1.ConfigMap("cm", metadata={"name": "mine", "namespace": space}, data={"a": "1"}%s)\n'


def _make_config_map(bench: Bench, space: str, **data: str) -> None:
    bench.ask(
        f'ask("POST", "/api/v1/namespaces/{space}/configmaps", {{"fieldManager": "other"}}, '
        f'{{"metadata": {{"name": "mine"}}, "data": {data!r}}}); answer = None'
    )


def test_an_object_that_exists_is_imported_and_then_managed(bench: Bench, write: Write) -> None:
    program = write("")
    program.up()
    space = _space(program)
    _make_config_map(bench, space, a="1")
    main = program.folder / "__main__.py"
    main.write_text(main.read_text() + _CONFIG_MAP % f', opts=Options(import_="{space}/mine")')
    assert "imported" in program.up()
    recorded = program.resource("cm")
    assert recorded["id"] == f"{space}/mine"
    assert recorded["inputs"]["data"] == {"a": "1"}
    assert "uid" not in recorded["inputs"]["metadata"]
    _change(program, f', opts=Options(import_="{space}/mine")', "")
    program.pulumi("preview", "--expect-no-changes")
    program.destroy()


def test_an_existing_object_is_refused_and_taken_over_only_when_asked(bench: Bench, write: Write) -> None:
    program = write("")
    program.up()
    space = _space(program)
    _make_config_map(bench, space, a="0")
    main = program.folder / "__main__.py"
    main.write_text(main.read_text() + _CONFIG_MAP % "")
    refused = program.run("up", "--yes", "--skip-preview")
    assert refused.returncode != 0
    assert 'configmaps "mine" already exists' in refused.stdout
    program.configure("kubernetes:upsertExistingObjects", "true")
    program.configure("kubernetes:enablePatchForce", "true")
    program.up()
    found = bench.ask(f'answer = ask("GET", "/api/v1/namespaces/{space}/configmaps/mine")')
    assert found["data"] == {"a": "1"}


_PATCHES = """
step = 1
k8s.core.v1.NamespacePatch("ns", metadata={"name": space, "labels": {"example.com/l": str(step)}})
k8s.core.v1.ServicePatch(
    "svc", metadata={"name": "web", "namespace": space, "annotations": {"example.com/a": str(step)}}
)
k8s.apps.v1.DeploymentPatch(
    "dep",
    metadata={"name": "web", "namespace": space},
    spec={"template": {"metadata": {"annotations": {"example.com/restarted-for": str(step)}}}},
)
if step == 3:
    k8s.core.v1.NamespacePatch("absent", metadata={"name": f"{space}-absent", "labels": {"a": "b"}})
"""
_PATCHED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "ns": ("/api/v1/namespaces/SPACE", "SPACE", {"f:metadata": {"f:labels": {"f:example.com/l": {}}}}),
    "svc": (
        "/api/v1/namespaces/SPACE/services/web",
        "SPACE/web",
        {"f:metadata": {"f:annotations": {"f:example.com/a": {}}}},
    ),
    "dep": (
        "/apis/apps/v1/namespaces/SPACE/deployments/web",
        "SPACE/web",
        {"f:spec": {"f:template": {"f:metadata": {"f:annotations": {"f:example.com/restarted-for": {}}}}}},
    ),
}
"""The resources of the program: path in the API, id, and the fields that they own."""


def _theirs(bench: Bench, space: str) -> None:
    """Objects of somebody else, as `kubectl create` makes them."""
    pod = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": "example.invalid"}]},
    }
    deployment = {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": pod}
    service = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}
    for path, body in (
        ("/api/v1/namespaces", {"metadata": {"name": space, "labels": {"team": "a"}}}),
        (f"/apis/apps/v1/namespaces/{space}/deployments", {"metadata": {"name": "web"}, "spec": deployment}),
        (f"/api/v1/namespaces/{space}/services", {"metadata": {"name": "web"}, "spec": service}),
    ):
        bench.ask(f'ask("POST", "{path}", {{"fieldManager": "kubectl-create"}}, {body!r}); answer = None')


def test_patches_do_what_was_recorded_of_the_official_plugin(bench: Bench, write: Write) -> None:
    """Plugin 4.29.0, SDK 4.34.2: steps, states and conflicts of a NamespacePatch, ServicePatch, DeploymentPatch."""
    program = write(_PATCHES, namespace=False)
    space = _space(program)
    _theirs(bench, space)

    def live(name: str) -> dict[str, Any]:
        return bench.ask(f'answer = ask("GET", "{_PATCHED[name][0].replace("SPACE", space)}")')

    def owned(name: str) -> list[tuple[str, str, Any]]:
        """What managers of patches own of an object."""
        entries = live(name)["metadata"]["managedFields"]
        return [(e["manager"], e["operation"], e["fieldsV1"]) for e in entries if e["manager"].startswith("pulumi-")]

    assert "4 created" in program.up()
    state = {item["urn"].rpartition("::")[2]: item for item in program.state()}
    managers: dict[str, str] = {}
    for name, (_, identity, fields) in _PATCHED.items():
        recorded = state[name]
        managers[name] = recorded["outputs"]["__fieldManager"]
        assert recorded["id"] == identity.replace("SPACE", space)
        assert recorded["outputs"]["__inputs"] == recorded["inputs"]
        assert recorded["outputs"]["__initialApiVersion"] == recorded["inputs"]["apiVersion"]
        assert owned(name) == [(managers[name], "Apply", fields)]
    assert len(set(managers.values())) == 3
    assert all(re.fullmatch("pulumi-kubernetes-[0-9a-f]{8}", manager) for manager in managers.values())

    _change(program, "step = 1", "step = 2")
    assert "3 updated" in program.up()
    assert {name: owned(name)[0][0] for name in _PATCHED} == managers
    assert live("svc")["metadata"]["annotations"] == {"example.com/a": "2"}
    assert live("ns")["metadata"]["labels"]["team"] == "a"

    # Somebody runs `kubectl label --overwrite`: only a refresh sees it, and the patch does not win it back.
    changed = {"metadata": {"labels": {"example.com/l": "theirs"}}}
    path = _PATCHED["ns"][0].replace("SPACE", space)
    bench.ask(
        f'ask("PATCH", "{path}", {{"fieldManager": "kubectl-label"}}, {changed!r}, content_type=MERGE); answer = 0'
    )
    program.pulumi("preview", "--expect-no-changes")
    refused = program.run("up", "--yes", "--skip-preview", "--refresh")
    assert refused.returncode != 0
    # Three, unless the engine ends before it comes to the last of them.
    assert re.search(r"\b[1-3] unchanged", refused.stdout), refused.stdout
    for part in (
        f'the Kubernetes API server reported that "{space}" failed to fully initialize or become live',
        f'The resource managed by field manager "{managers["ns"]}" had an apply conflict: Apply failed with 1 conflict',
        'conflict with "kubectl-label" using v1: .metadata.labels.example.com/l',
    ):
        assert part in refused.stdout, refused.stdout
    _change(program, 'metadata={"name": space, "labels"', f'metadata={{"name": space, {_FORCED}, "labels"')

    # A NamespacePatch makes a namespace that is not there, and destroy leaves it.
    _change(program, "step = 2", "step = 3")
    program.up()
    assert live("ns")["metadata"]["labels"]["example.com/l"] == "3"
    program.destroy()
    left = bench.ask(f'answer = ask("GET", "/api/v1/namespaces/{space}-absent")')
    assert left["status"]["phase"] == "Active"
    for name in _PATCHED:
        assert owned(name) == []
    assert "annotations" not in live("svc")["metadata"]
    assert "annotations" not in live("dep")["spec"]["template"]["metadata"]
    assert live("ns")["metadata"]["labels"] == {"kubernetes.io/metadata.name": space, "team": "a"}
    assert "annotations" not in live("ns")["metadata"]


_FORCED = '"annotations": {"pulumi.com/patchForce": "true"}'


_DEPLOYMENT = """
k8s.apps.v1.Deployment(
    "dep",
    metadata={"name": "dep", "namespace": space, "annotations": ANNOTATIONS},
    spec={
        "replicas": 1,
        "selector": {"match_labels": {"app": "dep"}},
        "template": {
            "metadata": {"labels": {"app": "dep"}},
            "spec": {
                "node_selector": NODES,
                "containers": [{"name": "c", "image": "example.invalid/a", "resources": {"limits": {"cpu": "0.5"}}}],
            },
        },
    },
    opts=Options(OPTIONS),
)
"""


def _deployment(annotations: dict[str, str], nodes: dict[str, str], options: str = "") -> str:
    text = _DEPLOYMENT.replace("ANNOTATIONS", repr(annotations)).replace("NODES", repr(nodes))
    return text.replace("OPTIONS", options)


_NOWHERE = {"no": "such"}


def test_waiting_is_skipped_when_the_annotation_says_so(write: Write) -> None:
    program = write(_deployment({"pulumi.com/skipAwait": "true"}, _NOWHERE))
    # Its pods can't run anywhere, so that waiting would end as a failure.
    program.up()
    # A quantity that the server writes in another form is no change.
    program.pulumi("preview", "--expect-no-changes")


_IMPATIENT = (
    _deployment({"pulumi.com/timeoutSeconds": "2"}, _NOWHERE).replace('"dep"', '"annotated"', 2)
    + _deployment({}, _NOWHERE, 'custom_timeouts=pulumi.CustomTimeouts(create="2s")').replace('"dep"', '"timed"', 2)
    + """
if not pulumi.Config().get_bool("mended"):
    k8s.core.v1.Service(
        "svc",
        metadata={"name": "svc", "namespace": space},
        spec={"selector": {"a": "b"}, "ports": [{"port": 80}]},
        opts=Options(custom_timeouts=pulumi.CustomTimeouts(create="2s")),
    )
    pod = {"restart_policy": "Never", "containers": [{"name": "c", "image": "example.invalid/a"}]}
    job = {"active_deadline_seconds": 1, "template": {"spec": pod}}
    k8s.batch.v1.Job("job", metadata={"name": "job", "namespace": space}, spec=job)
"""
)


@pytest.fixture(scope="module")
def impatient(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> tuple[Program, str]:
    """A program whose four objects never become ready, after its first `up`, and what that said."""
    program = _writer(bench, tmp_path_factory.mktemp("impatient"), "impatient")(_IMPATIENT)
    failed = program.run("up", "--yes", "--skip-preview")
    assert failed.returncode != 0
    return program, failed.stdout


def test_a_service_without_pods_is_waited_for_as_long_as_the_program_says(impatient: tuple[Program, str]) -> None:
    program, said = impatient
    assert "Service does not target any Pods" in said
    assert program.resource("svc")["initErrors"]


def test_a_job_that_fails_ends_the_wait_at_once(impatient: tuple[Program, str]) -> None:
    program, said = impatient
    assert "[DeadlineExceeded]" in said
    assert program.resource("job")["initErrors"]


def test_objects_that_do_not_become_ready_in_time_are_recorded_and_mended_by_the_next_run(
    impatient: tuple[Program, str],
) -> None:
    program, said = impatient
    for name in ("annotated", "timed"):
        assert f"'{name}' timed out waiting to be Ready" in said
        assert program.resource(name)["initErrors"]
    _change(program, repr(_NOWHERE), "None")
    program.configure("mended", "true")
    assert "2 updated" in program.up()
    for name in ("annotated", "timed"):
        assert "initErrors" not in program.resource(name)


def test_a_field_that_another_manages_is_left_to_it_when_changes_to_it_are_ignored(bench: Bench, write: Write) -> None:
    program = write(_deployment({}, {}, 'ignore_changes=["spec.replicas"]'))
    program.up()
    space = _space(program)
    path = f"/apis/apps/v1/namespaces/{space}/deployments/dep"
    bench.ask(
        f'ask("PATCH", "{path}", {{"fieldManager": "autoscaler"}}, {{"spec": {{"replicas": 3}}}}, content_type=MERGE)'
        "; answer = None"
    )
    _change(program, "example.invalid/a", "example.invalid/b")
    program.up()
    spec = bench.ask(f'answer = ask("GET", "{path}")["spec"]')
    assert spec["replicas"] == 3
    assert spec["template"]["spec"]["containers"][0]["image"] == "example.invalid/b"


def test_a_field_that_another_applied_is_a_conflict_unless_it_is_forced(bench: Bench, write: Write) -> None:
    program = write(_CONFIG_MAP % "")
    program.configure("kubernetes:enableConfigMapMutable", "true")
    program.up()
    space = _space(program)
    bench.ask(
        f'ask("PATCH", "/api/v1/namespaces/{space}/configmaps/mine", {{"fieldManager": "gitops", "force": "true"}}, '
        '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine"}, "data": {"a": "theirs"}}, '
        'content_type="application/apply-patch+yaml"); answer = None'
    )
    _change(program, '"a": "1"', '"a": "2"')
    refused = program.run("up", "--yes", "--skip-preview")
    assert refused.returncode != 0
    assert "field conflict" in refused.stdout
    assert "gitops" in refused.stdout
    _change(program, '"name": "mine"', '"name": "mine", "annotations": {"pulumi.com/patchForce": "true"}')
    program.up()
    found = bench.ask(f'answer = ask("GET", "/api/v1/namespaces/{space}/configmaps/mine")')
    assert found["data"] == {"a": "2"}


def test_a_field_that_the_program_drops_goes_from_the_object(bench: Bench, write: Write) -> None:
    program = write(_CONFIG_MAP.replace('"namespace": space', '"namespace": space, "labels": {"l": "x"}') % "")
    program.up()
    _change(program, ', "labels": {"l": "x"}', "")
    assert "1 updated" in program.up()
    found = bench.ask(f'answer = ask("GET", "/api/v1/namespaces/{_space(program)}/configmaps/mine")')
    assert "labels" not in found["metadata"]


def test_deleting_waits_for_finalizers_and_says_which(bench: Bench, write: Write) -> None:
    held = ', opts=Options(custom_timeouts=pulumi.CustomTimeouts(delete="2s"))'
    code = _CONFIG_MAP.replace('"namespace": space', '"namespace": space, "finalizers": ["example.invalid/hold"]')
    program = write(code % held)
    program.up()
    stuck = program.run("destroy", "--yes", "--skip-preview")
    assert stuck.returncode != 0
    assert "finalizers might be preventing deletion (example.invalid/hold)" in stuck.stdout
    bench.ask(
        f'ask("PATCH", "/api/v1/namespaces/{_space(program)}/configmaps/mine", None, '
        '{"metadata": {"finalizers": None}}, content_type=MERGE); answer = None'
    )
    program.destroy()


def test_secrets_stay_secret_on_every_way(write: Write) -> None:
    program = write(
        """
secret = k8s.core.v1.Secret("s", metadata={"namespace": space}, data={"plain-in-program": "c2VzYW1l"})
cm = k8s.core.v1.ConfigMap("c", metadata={"namespace": space}, data={"k": pulumi.Output.secret("rosebud")})
pulumi.export("from_secret", secret.data["plain-in-program"])
pulumi.export("from_map", cm.data["k"])
"""
    )
    said = program.up()
    stored = "".join(f.read_text() for f in program.backend.rglob("*.json"))
    for hidden in ("c2VzYW1l", "sesame", "rosebud"):
        assert hidden not in said + stored
    assert program.outputs() == {"from_secret": "[secret]", "from_map": "[secret]"}
    assert program.outputs(secrets=True) == {"from_secret": "c2VzYW1l", "from_map": "rosebud"}


def test_values_that_are_known_only_after_deployment_pass_a_preview(write: Write) -> None:
    program = write(
        """
first = k8s.core.v1.ConfigMap("first", metadata={"namespace": space}, data={"a": "1"})
k8s.core.v1.ConfigMap("second", metadata={"namespace": space}, data={"id": first.id})
"""
    )
    program.pulumi("preview")
    program.up()
    assert program.resource("second")["outputs"]["data"] == {"id": program.resource("first")["id"]}


def _chart(program: Program, template: str) -> None:
    chart = program.folder / "chart"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: c\nversion: 0.1.0\n")
    (chart / "templates" / "all.yaml").write_text(template)


_RELEASE = (
    'release = k8s.helm.v3.Release("r", name="r", chart="./chart", namespace=space, timeout=3, values=VALUES%s)\n'
    'pulumi.export("status", release.status)\n'
)
_WORKLOAD = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: d, annotations: {example.invalid/pw: {{ .Values.pw | b64enc | quote }} }}
spec:
  selector: {matchLabels: {app: d}}
  template:
    metadata: {labels: {app: d}}
    spec:
      containers: [{name: c, image: example.invalid/x}]
      {{- if .Values.stuck }}
      nodeSelector: {no: such}
      {{- end }}
"""


def _release(values: str, options: str = "") -> str:
    return (_RELEASE % options).replace("VALUES", values)


_VALUES = '{"pw": pulumi.Output.secret("rosebud"), "stuck": %s}'


def test_a_release_that_fails_is_recorded_and_mended_by_the_next_run(write: Write) -> None:
    program = write(_release(_VALUES % "True"))
    _chart(program, _WORKLOAD)
    failed = program.run("up", "--yes", "--skip-preview")
    space = _space(program)
    assert failed.returncode != 0
    assert f'Helm release "{space}/r" was created, but failed to initialize completely.' in failed.stdout
    recorded = program.resource("r")
    assert recorded["initErrors"]
    assert recorded["outputs"]["status"]["status"] == "failed"
    assert "rosebud" not in failed.stdout + json.dumps(recorded)
    _change(program, '"stuck": True', '"stuck": False')
    program.up()
    assert program.outputs()["status"]["status"] == "deployed"
    assert program.outputs()["status"]["revision"] == 2


def test_an_atomic_release_that_fails_leaves_nothing(write: Write) -> None:
    program = write(_release(_VALUES % "True", ", atomic=True"))
    _chart(program, _WORKLOAD)
    assert program.run("up", "--yes", "--skip-preview").returncode != 0
    assert not any(r["urn"].endswith("::r") for r in program.state())


def test_a_release_name_that_is_in_use_is_refused_and_the_release_can_be_imported(write: Write) -> None:
    program = write(_release(_VALUES % "False"))
    _chart(program, _WORKLOAD)
    program.up()
    other = write(_release(_VALUES % "False"), namespace=False)
    _chart(other, _WORKLOAD)
    refused = other.run("up", "--yes", "--skip-preview")
    assert "cannot re-use a name that is still in use" in refused.stdout
    assert not any(r["urn"].endswith("::r") for r in other.state())
    _change(other, f"values={_VALUES % 'False'}", f"values={_VALUES % 'False'}, opts=Options(import_=space + '/r')")
    assert "imported" in other.up()
    assert other.resource("r")["id"] == f"{_space(other)}/r"
    assert other.outputs()["status"]["status"] == "deployed"


def test_a_release_changed_by_hand_is_put_right_and_one_that_is_gone_does_not_stop_a_destroy(
    bench: Bench, write: Write
) -> None:
    program = write(_release('{"size": 1, "pw": "x", "stuck": False}'))
    _chart(program, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {size: {{ .Values.size | quote }} }\n")
    program.up()
    space = _space(program)
    upgraded = bench.run(
        ["helm", "upgrade", "r", str(program.folder / "chart"), "--namespace", space, "--set", "size=9"]
    )
    assert upgraded.returncode == 0, upgraded.stderr
    refreshed = program.pulumi("refresh", "--yes", "--skip-preview")
    assert "1 updated" in refreshed
    assert "[diff: ~values]" in program.up()
    found = bench.ask(f'answer = ask("GET", "/api/v1/namespaces/{space}/configmaps/c")')
    assert found["data"] == {"size": "1"}
    assert bench.run(["helm", "uninstall", "r", "--namespace", space, "--wait"]).returncode == 0
    program.destroy()


def test_the_program_that_helm_runs_for_sees_no_secret_in_any_process(bench: Bench, write: Write) -> None:
    program = write(_release(_VALUES % "True"))
    _chart(program, _WORKLOAD)
    space = _space(program)
    seen: list[str] = []
    run = subprocess.Popen(
        bench.cluster.exec_argv(["pulumi", "--non-interactive", "up", "--yes", "--skip-preview"]),
        cwd=program.folder,
        env=program.environment,
        stdout=subprocess.DEVNULL,
    )
    while run.poll() is None:
        for process in psutil.process_iter():
            try:
                line = " ".join(process.cmdline())
            except psutil.Error:
                continue
            if "helm install" in line and space in line:
                seen.append(line)
        time.sleep(0.1)
    assert seen
    assert not any("rosebud" in line or base64.b64encode(b"rosebud").decode() in line for line in seen)


def test_an_interrupted_run_stops_waiting_and_records_what_it_made(bench: Bench, write: Write) -> None:
    program = write(_deployment({}, _NOWHERE))
    run = subprocess.Popen(
        bench.cluster.exec_argv(["pulumi", "--non-interactive", "up", "--yes", "--skip-preview"]),
        cwd=program.folder,
        env=program.environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert run.stdout is not None
    for line in run.stdout:
        if "Waiting for app ReplicaSet" in line:
            run.send_signal(signal.SIGINT)
            break
    said, _ = run.communicate()
    assert "cancelled" in said
    assert program.resource("dep")["initErrors"]


def test_a_cluster_that_does_not_answer_is_named(write: Write, tmp_path: Path) -> None:
    program = write(_CONFIG_MAP % "")
    nowhere: dict[str, Any] = {
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c"}}],
        "current-context": "x",
    }
    kubeconfig = tmp_path / "nowhere"
    kubeconfig.write_text(json.dumps(nowhere))
    failed = program.run("up", "--yes", "--skip-preview", KUBECONFIG=str(kubeconfig))
    assert "configured Kubernetes cluster is unreachable" in failed.stdout
    assert "Connection refused" in failed.stdout
    assert "Traceback" not in failed.stdout
