from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from devcluster import embedded, example, paths, stackfile
from devcluster.cluster import Cluster
from devcluster.embedded import Embedded
from devcluster.example import Example
from devcluster.kubelet import spec
from devcluster.stack import StackError

EXAMPLES = pytest.mark.parametrize("name", example.names())


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (paths.cluster_dir("dev")).mkdir(parents=True)
    return Cluster("dev")


@EXAMPLES
def test_every_pod_of_an_example_runs_as_a_process(name: str) -> None:
    text = Example(name, Path("/x")).objects.read_text()
    objects = list(yaml.safe_load_all(text))
    pods = [item["spec"]["template"] for item in objects if item["kind"] == "Deployment"]
    assert pods
    assert all(spec.is_real(pod) for pod in pods)
    assert {item["metadata"].get("namespace", item["metadata"]["name"]) for item in objects} == {name}


@EXAMPLES
def test_the_stack_of_an_example_opens_it_by_the_certificate_that_is_made(name: str) -> None:
    chosen = Example(name, Path("/x"))
    config = stackfile.configuration(chosen.stack)
    assert f"'certificate': '/x/{chosen.host}.crt', 'key': '/x/{chosen.host}.key'" in str(config["meshup:gateways"])
    assert chosen.host in str(config["meshup:traffic"])
    # The keys of the cluster can be set in it, line by line.
    own = embedded.settings("meshup-dev", Path("/c"), Path("/g"), config, pods=True)
    assert stackfile.configuration(stackfile.with_settings(chosen.stack, own)) == config | own


def test_a_certificate_is_made_once_for_the_host(tmp_path: Path) -> None:
    chosen = Example("shop", tmp_path / "example")
    chosen.issue()
    first = chosen.authority.read_bytes()
    certificate = x509.load_pem_x509_certificate((chosen.state / "shop.example.com.crt").read_bytes())
    names = certificate.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    assert isinstance(names, x509.SubjectAlternativeName)
    assert names.get_values_for_type(x509.DNSName) == ["shop.example.com"]
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(first))
    chosen.issue()
    assert chosen.authority.read_bytes() == first


def test_a_cluster_remembers_its_example_until_it_is_taken_down(cluster: Cluster) -> None:
    assert example.of(cluster) is None
    Example("shop", example.folder(cluster)).issue()
    assert example.of(cluster) is None, "its objects are not there yet"
    (example.folder(cluster) / "name").write_text("shop")
    found = example.of(cluster)
    assert found is not None
    assert found.name == "shop"
    example.forget(cluster)
    assert example.of(cluster) is None


def test_an_example_is_refused_by_a_cluster_that_has_another_stack(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(_: Cluster) -> dict[str, str]:
        return {}

    monkeypatch.setattr(Cluster, "environment", nothing)
    subject = Embedded(cluster.name)
    assert subject.choose("shop").name == "shop"
    state = cluster.directory / "pulumi" / ".pulumi" / "stacks" / "meshup" / "embedded.json"
    state.parent.mkdir(parents=True)
    state.write_text("{}")
    with pytest.raises(StackError, match="has the stack embedded already"):
        subject.choose("shop")
