import pytest

from devcluster.provider import settings


def test_defaults_are_those_of_the_official_plugin() -> None:
    chosen = settings.load({}, {})
    assert chosen.server_side_apply
    assert not (chosen.upsert_existing_objects or chosen.patch_force or chosen.delete_unreachable)
    assert not (chosen.mutability.config_map or chosen.mutability.secret)


def test_the_stack_wins_over_the_environment() -> None:
    variables = {"kubernetes:config:deleteUnreachable": "false", "kubernetes:config:context": "kind"}
    environment = {"PULUMI_K8S_DELETE_UNREACHABLE": "true", "PULUMI_K8S_ENABLE_CONFIGMAP_MUTABLE": "true"}
    chosen = settings.load(variables, environment)
    assert chosen.context == "kind"
    assert not chosen.delete_unreachable
    assert chosen.mutability.config_map


def test_settings_for_helm_become_its_environment() -> None:
    variables = {"kubernetes:config:helmReleaseSettings": '{"driver": "configmap"}'}
    assert settings.load(variables, {"PULUMI_K8S_HELM_PLUGINS_PATH": "/p"}).helm == {
        "HELM_DRIVER": "configmap",
        "HELM_PLUGINS": "/p",
    }


@pytest.mark.parametrize("text", ["[1]", "{"])
def test_helm_settings_that_are_no_object_are_refused(text: str) -> None:
    with pytest.raises(settings.SettingsError, match="helmReleaseSettings"):
        settings.load({"kubernetes:config:helmReleaseSettings": text}, {})


def test_strict_mode_wants_an_explicit_provider_with_kubeconfig_and_context() -> None:
    default = "urn:pulumi:dev::p::pulumi:providers:kubernetes::default_4_34_2"
    assert settings.strict_mode_failures({}, {}, default) == []
    failures = settings.strict_mode_failures({}, {"strictMode": "true"}, default)
    assert [name for name, _ in failures] == ["", "kubeconfig", "context"]
    own = "urn:pulumi:dev::p::pulumi:providers:kubernetes::mine"
    assert settings.strict_mode_failures({"strictMode": "true", "kubeconfig": "x", "context": "y"}, {}, own) == []
