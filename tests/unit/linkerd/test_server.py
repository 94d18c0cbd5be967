from components.meshes.linkerd.server import Servers
from tests.unit.traffic.helpers import RATINGS, REVIEWS, service


def test_whatever_wants_the_same_port_of_the_same_pods_gets_one_server() -> None:
    servers = Servers("strict")
    first = servers.want(REVIEWS, REVIEWS.ports[0], "a", "traffic.a.rateLimit")
    second = servers.want(REVIEWS, REVIEWS.ports[0], "b", "security.b", access="deny")
    other = servers.want(RATINGS, RATINGS.ports[0], "c", "traffic.c.rateLimit")
    assert (first is second, first.keys, other.name, servers.diagnostics) == (True, ["a", "b"], "ratings-9080", [])
    policies = [servers.write(server)["spec"]["accessPolicy"] for server in (first, other)]
    assert policies == ["deny", "all-authenticated"]


def test_a_service_of_another_name_with_the_same_pods_shares_the_server() -> None:
    servers = Servers("permissive")
    twin = service("reviews", "v1", ports=REVIEWS.ports)
    assert servers.want(REVIEWS, REVIEWS.ports[0], "a", "x") is servers.want(twin, twin.ports[0], "b", "y")


def test_wishes_that_exclude_each_other_are_refused_at_the_later_one() -> None:
    servers = Servers("strict")
    for key, access in (("a", "deny"), ("b", "all-authenticated")):
        servers.want(REVIEWS, REVIEWS.ports[0], key, f"security.{key}", access)
    (fault,) = servers.diagnostics
    assert (fault.code, fault.path, fault.value) == ("MSH127", "security.b", "all-authenticated")
    assert "'a' admits deny" in fault.message
