"""The catalogue of every diagnostic code of meshup: one table, from which docs/diagnostics.md is generated.

To add a code, append a `Code` to the tuple of your area. A code is never given a new meaning: pipelines match on it.

* `MSH0nn` configuration and target cluster
* `MSH1nn` traffic
* `MSH2nn` identity and certificates
* `MSH3nn` mesh installation
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    """What one diagnostic code means, whoever raises it.

    Attributes:
        code: `MSH` and three digits.
        title: A few words, as a heading.
        meaning: What is wrong and why it matters, in one or two sentences.
        remedy: What the user does about it when the place that raises it says nothing more exact.
    """

    code: str
    title: str
    meaning: str
    remedy: str


CONFIGURATION: tuple[Code, ...] = (
    Code(
        "MSH001",
        "Wrong type",
        "The value has another type than the key takes: text where a number is expected, a list where a mapping is.",
        "Write a value of the type that the key takes; numbers stand without quotes.",
    ),
    Code(
        "MSH002",
        "Unknown key",
        "meshup does not know this key. It would have no effect, so it is refused.",
        "Correct the spelling or remove the key: docs/configuration.md lists all keys.",
    ),
    Code("MSH003", "Missing key", "A key that has no default is not there, or its value is empty.", "Set the key."),
    Code(
        "MSH004",
        "Value not allowed",
        "The value is not in the set that the key takes.",
        "Use one of the allowed values.",
    ),
    Code(
        "MSH005",
        "Number out of range",
        "The number is outside the range that the key takes.",
        "Use a number in the range.",
    ),
    Code(
        "MSH006",
        "Not a legal name",
        "Kubernetes does not take this as a name: it needs lower-case letters, digits and '-', at most 63 characters, "
        "with a letter or digit at both ends.",
        "Use a DNS label (RFC 1123).",
    ),
    Code(
        "MSH007",
        "Keys that exclude each other",
        "Two keys are set of which only one may be.",
        "Keep one of the keys.",
    ),
    Code(
        "MSH008",
        "Environment not known",
        "The stack is not named after an environment, and meshup:environment does not name one, so there is no preset "
        "to start from.",
        "Run `pulumi config set meshup:environment dev` (or staging, or prod).",
    ),
    Code(
        "MSH009",
        "Namespace not free",
        "The namespace already has another use: Kubernetes' own, the control plane's, or another part of this stack.",
        "Choose another namespace.",
    ),
    Code(
        "MSH010",
        "Not an exact version",
        "A version is pinned exactly, so that every run installs the same. Ranges and names such as `latest` move.",
        "Write three numbers, such as 1.30.3.",
    ),
    Code(
        "MSH011",
        "Secret where it can't stay one",
        "The value of this key shows in stack outputs and in the names of objects, so it can't be a secret.",
        "Set the key again without `--secret`.",
    ),
    Code(
        "MSH012",
        "Listed twice",
        "The same entry stands twice in a list.",
        "Keep one of them.",
    ),
    Code(
        "MSH013",
        "Not a path",
        "No file system takes this as the path of a file or a directory.",
        "Write the path of a file or directory; a relative one starts at the project.",
    ),
    Code(
        "MSH014",
        "Too deep or not plain data",
        "The value nests deeper than any configuration needs, or holds a number that is none: what reads it would end "
        "half-way.",
        "Write plain mappings, lists, texts and finite numbers, at most 100 deep.",
    ),
    Code(
        "MSH015",
        "Resources not possible",
        "Kubernetes does not take this as a quantity of CPU, memory or storage, or no pod that requests more than "
        "its limit. The pods would never start.",
        "Write a number and a unit, such as 500m, 2, 512Mi or 1Gi, and a limit that is no less than the request.",
    ),
    Code(
        "MSH016",
        "Not an image registry",
        "The container runtime does not take this as the beginning of an image's name, so no image could be pulled.",
        "Write HOST[:PORT]/PATH, such as registry.example.org/mesh.",
    ),
    Code(
        "MSH017",
        "Not an address",
        "This is no domain, port, network, endpoint or URL as the mesh takes it. Linkerd would drop it with a line in "
        "a log, or its proxies would not start.",
        "Correct the address.",
    ),
    Code(
        "MSH018",
        "Setting of the Kubernetes provider not usable",
        "The Kubernetes provider reads whatever is not `true` as false, and ends on JSON that it does not expect.",
        "Write true or false, or JSON with the keys of the provider.",
    ),
    Code(
        "MSH020",
        "Cluster not named",
        "meshup never deploys to whatever context happens to be current, so the stack must name its cluster.",
        "Run `pulumi config set kubernetes:context NAME` with a name that `kubectl config get-contexts -o name` lists.",
    ),
    Code(
        "MSH021",
        "Kubeconfig not readable",
        "The kubeconfig is not there or is not a kubeconfig, so the cluster can't be found.",
        "Point KUBECONFIG, or the key kubernetes:kubeconfig, to a kubeconfig file.",
    ),
    Code(
        "MSH022",
        "Context not in the kubeconfig",
        "The kubeconfig has no context of this name.",
        "Set kubernetes:context to one of the contexts of the kubeconfig.",
    ),
    Code(
        "MSH023",
        "Cluster does not answer",
        "The API server of the named context can't be reached.",
        "Check that the cluster runs and that its address can be reached from here: `kubectl --context NAME version`.",
    ),
    Code(
        "MSH024",
        "Cluster refuses the credentials",
        "The API server answers, but does not let these credentials read what meshup must know before it deploys.",
        "Log in again, or use credentials that may install the mesh: cluster-admin, or the role of the mesh in "
        "docs/rbac/ (docs/own-cluster.md).",
    ),
    Code(
        "MSH025",
        "Kubernetes too old",
        "The mesh does not support this version of Kubernetes.",
        "Upgrade the cluster, or install a version of the mesh that supports it.",
    ),
    Code(
        "MSH026",
        "Object belongs to someone else",
        "The cluster already has an object of this name that this stack did not make, and its state does not have it. "
        "Taking it over could destroy it later, so it is left alone.",
        "Rename one of the two, or hand the object over: docs/own-cluster.md says how, and what follows.",
    ),
    Code(
        "MSH027",
        "Many routes, one resource each",
        "Pulumi writes the state of the stack twice for each resource that it makes, so the time of a first `up` grows "
        "with the square of their number on a backend of files.",
        "Set meshup:delivery to release before the first `up`, if that `up` takes too long: "
        "docs/decisions/0002-scale.md.",
    ),
    Code(
        "MSH028",
        "Release too large",
        "Helm keeps its record of a release in one Secret, and Kubernetes takes no Secret above 1 MiB.",
        "Set meshup:delivery to objects, or move some of the Services to another namespace or stack.",
    ),
    Code(
        "MSH029",
        "Delivered the other way",
        "The objects in the cluster were delivered in the other way. If both ways held them, one would delete what "
        "the other has just made, and requests would fail.",
        "Set meshup:delivery back, or hand the objects over as docs/decisions/0002-scale.md describes.",
    ),
    Code(
        "MSH030",
        "File of routes not usable",
        "The file that meshup:trafficFile names is not there, is no YAML mapping, or has a route that stands "
        "elsewhere.",
        "Correct the path or the file: it holds routes as they stand under meshup:traffic.",
    ),
    Code(
        "MSH031",
        "Cluster does not answer as asked",
        "The API server answers, but with an error that is no matter of rights. meshup can't tell then what is on the "
        "cluster, so it deploys nothing.",
        "Look at what the API server says; `kubectl --context NAME get --raw PATH` asks it again. If it is busy or "
        "starting, try again later.",
    ),
    Code(
        "MSH032",
        "Credentials not to be had",
        "The kubeconfig's user is not there, a file that it names can't be read, or its credential plugin is missing, "
        "fails, or does not end.",
        "Run `kubectl --context NAME version`, which uses the same credentials, and correct the user of the "
        "kubeconfig. A plugin must work without a terminal.",
    ),
    Code(
        "MSH033",
        "Kinds of the cluster unknown",
        "The API server lists a group of kinds and does not say what is in it, most often because the server behind an "
        "APIService is down. meshup can't tell then whether an object exists that it would overwrite.",
        "Run `kubectl --context NAME get apiservices`, and repair or delete those that are not available.",
    ),
    Code(
        "MSH034",
        "Setting of the Kubernetes provider not possible",
        "With this setting, the Kubernetes provider would deploy elsewhere than meshup looks, or not deploy at all.",
        "Remove the key or the environment variable, or set it to what is allowed.",
    ),
    Code(
        "MSH035",
        "Kubernetes newer than the mesh knows",
        "The project of the mesh says nothing of this version of Kubernetes. It is deployed all the same: most new "
        "versions take nothing away.",
        "Try it on a cluster that may break, or install a version of the mesh that supports it.",
    ),
    Code(
        "MSH036",
        "Object of two stacks",
        "The object carries the name of another stack, and the states of both have it. A `pulumi destroy` of one would "
        "take it from the other.",
        "Forget it in the state of the stack that shall not have it: `pulumi state unprotect URN` if it is protected, "
        "then `pulumi state delete URN`. Both leave the object alone.",
    ),
    Code(
        "MSH037",
        "Objects taken over",
        "The state of this stack has objects that do not carry its name: they were imported, or the stack was renamed "
        "or has moved to another backend.",
        "Nothing, if that is so. If another backend still has a stack of the former name, remove that with `pulumi "
        "stack rm --force`, which leaves the objects alone, and never destroy it.",
    ),
)

TRAFFIC: tuple[Code, ...] = (
    Code(
        "MSH101",
        "Wrong type",
        "The value has another type than the field takes: text where a number is expected, a list where a mapping is.",
        "Write a value of the type that the field takes; numbers stand without quotes.",
    ),
    Code(
        "MSH102",
        "Unknown key",
        "The key is not part of the traffic model. It would have no effect, so it is refused.",
        "Correct the spelling or remove the key.",
    ),
    Code("MSH103", "Missing key", "A key that has no default is not there.", "Add the key."),
    Code(
        "MSH104",
        "Value not allowed",
        "The value is not in the set that the field takes.",
        "Use one of the allowed values.",
    ),
    Code(
        "MSH105",
        "Number out of range",
        "The number is outside the range that the field takes.",
        "Use a number in the range.",
    ),
    Code(
        "MSH106",
        "Unknown Service",
        "No application of the stack has this Service in this namespace, and the configuration does not describe it.",
        "Name a Service of an application in meshup:apps, or describe your own with `namespace`, `port` and "
        "`versions`.",
    ),
    Code(
        "MSH107",
        "Unknown version",
        "The Service has no version of this name: the weight would go to an endpoint that does not exist.",
        "Name one of the versions of the Service.",
    ),
    Code(
        "MSH108",
        "Not a legal name",
        "Kubernetes does not take this as a name: it needs lower-case letters, digits and '-', at most 63 characters, "
        "with a letter or digit at both ends.",
        "Use a DNS label (RFC 1123).",
    ),
    Code(
        "MSH109",
        "Port not known or not clear",
        "The Service does not have this port, or it has several and the configuration does not say which.",
        "Set `port` to one of the port numbers of the Service.",
    ),
    Code(
        "MSH110",
        "Weights do not sum to 100",
        "The weights of one rule are percents. If they do not sum to 100, either the meaning is not clear or a part of "
        "the traffic is not accounted for.",
        "Change the weights so that they sum to 100.",
    ),
    Code(
        "MSH111",
        "Weight is not a whole percent",
        "A weight is an integer from 0 to 100.",
        "Write an integer from 0 to 100, without quotes and without a fraction.",
    ),
    Code(
        "MSH112",
        "No backend",
        "A split or a list of backends is empty: requests would have nowhere to go.",
        "Name at least one version with its weight.",
    ),
    Code(
        "MSH113",
        "Keys that exclude each other",
        "Two keys are set of which only one may be.",
        "Keep one of the keys.",
    ),
    Code(
        "MSH114",
        "Repeated backend",
        "The same backend stands twice in one rule, so its share is not clear.",
        "Keep one entry with the sum of the weights.",
    ),
    Code(
        "MSH115",
        "Not a duration",
        "A duration is an integer with one unit. Linkerd rejects `1m30s` in an annotation and silently drops it "
        "in a route; "
        "the Gateway API takes at most five digits.",
        "Write an integer and one unit, such as 90s or 1500ms.",
    ),
    Code(
        "MSH116",
        "Two routes for one Service",
        "Two entries govern the same port of the same Service. The meshes merge such objects or let one shadow "
        "the other.",
        "Put the rules of both into one route.",
    ),
    Code(
        "MSH117",
        "Repeated rule name",
        "Two rules of a route have the same name, so outputs and messages could not tell them apart.",
        "Give each rule a name of its own.",
    ),
    Code(
        "MSH118",
        "Not a path",
        "The path can't match, or the API server refuses it (Gateway API v1.5.1, HTTPPathMatch).",
        "Write an absolute path without a query.",
    ),
    Code(
        "MSH119",
        "Not a name of a header, cookie or parameter",
        "HTTP does not take this as a name (RFC 9110, token).",
        "Use letters, digits and !#$%&'*+.^_`|~-.",
    ),
    Code(
        "MSH120",
        "Not a regular expression of both meshes",
        "Envoy reads RE2, Linkerd reads Rust's syntax. The pattern uses something that at least one of them does "
        "not have.",
        "Keep to groups, classes, alternatives and repetition; or match by prefix or exact text.",
    ),
    Code(
        "MSH121",
        "Retries contradict themselves",
        "Zero attempts switch retries off, so conditions and back-off have no meaning. Istio rejects that; "
        "Linkerd reads "
        "a limit of 0 as its default.",
        "Remove the other keys, or set attempts to 1 or more.",
    ),
    Code(
        "MSH122",
        "Circuit breaker contradicts itself",
        "A setting of the ejection has no effect, or its limits exclude each other.",
        "Set consecutiveErrors, and let maxEjection be at least ejection.",
    ),
    Code(
        "MSH126",
        "Name of a version's Service is taken",
        "A backend of an HTTPRoute is a Service, so each version needs one of its own. The name that it would get"
        " belongs to a Service with another selector or without the port.",
        "Rename the version or the other Service.",
    ),
    Code(
        "MSH127",
        "Two objects of one name",
        "Two routes would make the same object with different contents; one would overwrite the other.",
        "Rename a rule, a version or a Service.",
    ),
    Code(
        "MSH128",
        "Two APIs for one Service",
        "A VirtualService and an HTTPRoute (or a ServiceProfile and an HTTPRoute) on one Service shadow each "
        "other: on Linkerd the profile switches the split off (observed), on Istio the result is not defined.",
        "Use one API for all ports of a Service.",
    ),
    Code(
        "MSH129",
        "API not known to the mesh",
        "The mesh of the stack does not read the API that is asked for.",
        "Leave `api` out, or choose one that the mesh reads.",
    ),
    Code(
        "MSH130",
        "Catch-all added",
        "No rule takes every request. On both meshes an unmatched request gets 404 as soon as a Service has any "
        "route, so meshup adds a last rule to the whole Service.",
        "Add a last rule without `match` to choose for yourself.",
    ),
    Code(
        "MSH131",
        "Feature not available",
        "The target can't do this. meshup refuses it, because the mesh would drop it, or the whole route, without"
        " a word.",
        "Remove it, or choose a mesh and `api` that can (see the table in docs/traffic.md).",
    ),
    Code(
        "MSH132",
        "Beyond the limits of one route",
        "The API server takes at most 16 rules and 128 matches in one HTTPRoute (Gateway API v1.5.1).",
        "Join rules that have the same backends.",
    ),
    Code(
        "MSH133",
        "Version makes no legal Service name",
        "The Service of a version is named like the Service and the version together; the API server does not "
        "take that name.",
        "Shorten the name of the version.",
    ),
    Code(
        "MSH134",
        "Order that the mesh would not keep",
        "Rules mean their order. HTTPRoutes have none: each mesh ranks their matches in its own way (Istio: "
        "exact, prefix, regex; Linkerd: the length of the matched path, then headers, query, method). For the "
        "request that the report shows, which both rules match, the mesh would take the later one, and the outcome "
        "would be another.",
        "Put the rule that the mesh prefers first, or let the matches exclude each other.",
    ),
    Code(
        "MSH135",
        "Order that depends on the age of objects",
        "On Linkerd, rules with different timeouts or retries are separate objects. Where their matches rank the "
        "same, the older object wins.",
        "Give the rules the same policies, or matches that exclude each other.",
    ),
    Code(
        "MSH136",
        "Rules in several objects",
        "Linkerd keeps timeouts and retries for a whole route object, so rules with different ones become several"
        " objects on the same Service.",
        "Nothing needs to be done.",
    ),
    Code(
        "MSH137",
        "gRPC retries outside a GRPCRoute",
        "Linkerd reads the conditions on gRPC status only from a GRPCRoute.",
        "Make all matches of the route matches on `grpc`, and declare the port to be gRPC.",
    ),
    Code(
        "MSH138",
        "Pods of the Service not known",
        "A rate limit is placed at the pods, and the Service of a version selects some of them; the labels that the "
        "Service selects are not known.",
        "Add `selector`.",
    ),
    Code(
        "MSH139",
        "Port is not HTTP",
        "The name or the appProtocol of the port says another protocol. The mesh would forward bytes and apply no"
        " rule on requests.",
        "Name an HTTP port, or correct its name or appProtocol.",
    ),
    Code(
        "MSH140",
        "Version selects no pod",
        "The labels of the version contradict the selector of the Service: no pod has both (istioctl analyze "
        "calls it IST0173).",
        "Let the Service select what its versions have in common.",
    ),
    Code(
        "MSH141",
        "Versions select the same pods",
        "The labels of one version are among those of another, so the weights do not divide the pods.",
        "Give each version a label value of its own.",
    ),
    Code(
        "MSH142",
        "Rule that no request reaches",
        "Earlier rules take every request that this one matches. Paths, headers, cookies, query and method are "
        "compared as sets, not as text.",
        "Put it before the other, or remove it.",
    ),
    Code(
        "MSH143",
        "Match without effect",
        "Another match takes every request of this one.",
        "Remove it.",
    ),
    Code(
        "MSH144",
        "Timeout of an attempt without retries",
        "With one attempt, its timeout is that of the request. On an Istio HTTPRoute it would even replace it.",
        "Add `retries`, or set the timeout of the request.",
    ),
    Code(
        "MSH145",
        "Attempt longer than the request",
        "One attempt may take longer than the whole request; the API server refuses that in an HTTPRoute.",
        "Make `perTry` at most as long as `request`.",
    ),
    Code(
        "MSH146",
        "Retries that do not fit",
        "All attempts together may take longer than the request; the last ones never happen when each takes its time.",
        "Raise the request timeout or take fewer attempts.",
    ),
    Code(
        "MSH147",
        "Fault that disables timeout or retries",
        "Istio applies neither timeouts nor retries on a route that injects faults (VirtualService, "
        "HTTPFaultInjection).",
        "Remove them from the rule, or inject the fault at the Service behind it.",
    ),
    Code(
        "MSH148",
        "Redirect with a policy",
        "A redirect answers the request itself; there is no backend that the policy could act on, and Istio "
        "rejects some of them.",
        "Keep only the redirect in the rule.",
    ),
    Code(
        "MSH149",
        "Prefix to replace not clear",
        "The API server takes a prefix rewrite only in a rule with exactly one match on a path prefix.",
        "Give the rule one match on a path prefix.",
    ),
    Code(
        "MSH150",
        "Mirror to a live backend",
        "The version gets its share of the requests and copies of others: it does work twice, and its numbers "
        "mean nothing.",
        "Mirror to a version without weight.",
    ),
    Code(
        "MSH151",
        "Affinity across versions",
        "Session affinity is a hash over the endpoints of one destination. With weights over several versions, "
        "each request draws its version anew (istio/istio#19630).",
        "Choose the version by a match on a cookie or header.",
    ),
    Code(
        "MSH152",
        "Policies of a Service in two routes",
        "Circuit breaking, load balancing, affinity and retry budget belong to the Service. Of two "
        "DestinationRules for one host, the second is dropped.",
        "Put them into one route.",
    ),
    Code(
        "MSH153",
        "Egress port with two protocols",
        "One port of a host outside the mesh is declared with two protocols.",
        "Give one protocol.",
    ),
    Code(
        "MSH154",
        "Retries without a budget",
        "A ServiceProfile retries as long as its budget lasts, and none is set.",
        "Add `retryBudget`.",
    ),
    Code(
        "MSH155",
        "Route not declared",
        "The stack declares no route of this name.",
        "Name one of the routes of `meshup:traffic`.",
    ),
    Code(
        "MSH156",
        "Order that versions of Linkerd differ in",
        "Between a match on a method and one on headers or query parameters, the proxy of edge-26.8.3 prefers "
        "the headers "
        "(observed); other versions prefer the method, as the Gateway API says. An upgrade would change who gets "
        "the request.",
        "Give the rules matches that exclude each other.",
    ),
    Code(
        "MSH157",
        "Policies that some requests do not meet",
        "A route sends requests to another Service. On Istio the policies of the Service that a request goes to hold, "
        "on Linkerd the circuit breaker of the Service that was called.",
        "Declare the policies at the other Service too.",
    ),
    Code(
        "MSH158",
        "Retry budget without retries",
        "Linkerd retries nothing unless a rule says so, so the budget has no effect. On Istio it limits the retries "
        "that every route has by default.",
        "Let a rule retry by the budget, or remove it.",
    ),
    Code(
        "MSH159",
        "TCP host takes the whole port",
        "Plain TCP has no host name that a proxy could read. Istio sends every connection on the port that nothing "
        "else takes to the one TCP host (istioctl analyze calls it IST0134).",
        "Use TLS or HTTPS if the client speaks it; otherwise give the host a port that no other host has.",
    ),
    Code(
        "MSH160",
        "Two rate limits for the same pods",
        "A rate limit holds at a port of the pods, whatever Service they are called by. Linkerd's webhook refuses a "
        "second Server for it; on Istio a request would have to pass both limits.",
        "Keep one of them.",
    ),
    Code(
        "MSH161",
        "ServiceProfile for every port",
        "A ServiceProfile has the name of the Service and knows no port: its routes hold for all ports, and a Service "
        "has one.",
        "Nothing needs to be done if the other ports speak no HTTP; otherwise tell them apart by the path.",
    ),
    Code(
        "MSH162",
        "Too much work to compare",
        "Rules mean their order, so meshup compares their matches, exactly. A few patterns of a few characters can "
        "take more than any machine has, so the steps of a configuration are counted, and there is a limit.",
        "Write the patterns with fewer and smaller repetitions, prefixes or exact texts in their place, or give the "
        "route fewer matches.",
    ),
    Code(
        "MSH163",
        "Too much work to explain",
        "To decide a request takes more steps than meshup counts to: patterns with many repetitions, and a request "
        "with a long path, header or parameter.",
        "Ask for one route, or with a shorter request.",
    ),
    Code(
        "MSH164",
        "Redirect loop",
        "A client that follows the redirect meets the same rule again. Envoy redirects it once more, without end; "
        "Linkerd sends a request for that address to the Service.",
        "Redirect elsewhere, or put a rule with backends for the new address before it.",
    ),
    Code(
        "MSH165",
        "Redirect that drops the query",
        "Where a redirect names a path, Linkerd leaves the query of the request out of the new address; Envoy keeps "
        "it.",
        "Nothing needs to be done if no client sends a query there; otherwise let the application redirect.",
    ),
    Code(
        "MSH166",
        "Service to annotate is not there",
        "Linkerd reads circuit breaking from annotations of the Service. meshup adds them to a Service that it does "
        "not make, and there is none of this name on the cluster.",
        "Make the Service first, or correct its name or namespace.",
    ),
    Code(
        "MSH167",
        "Annotation is somebody else's",
        "The Service has one of the annotations of the circuit breaker with another value, and another field manager "
        "owns it. The API server would refuse the change as a conflict.",
        "Remove the annotation where it is set, or remove the circuit breaker from the configuration.",
    ),
    Code(
        "MSH168",
        "GRPCRoute takes the whole port",
        "Linkerd serves a port with a GRPCRoute as gRPC: HTTP/2 only, and of that only POST. meshup writes one only "
        "for a port that is declared to be gRPC; elsewhere matches on `grpc` become an HTTPRoute.",
        "Nothing needs to be done if all callers of the port are gRPC clients.",
    ),
    Code(
        "MSH169",
        "appProtocol that Linkerd does not know",
        "Linkerd forwards connections to a port with an unknown `appProtocol`, such as `grpc` or `http2`, without "
        "looking at requests. No rule would hold there.",
        "Write `kubernetes.io/h2c`, which Istio knows too, or leave `appProtocol` out of the Service.",
    ),
    Code(
        "MSH170",
        "Request that can't be sent",
        "`meshup explain` was asked about a request that no client can send: its path, method, query or a header has "
        "characters that HTTP does not take there.",
        "Write the request as it is sent: percent-encoded, without blanks.",
    ),
)

IDENTITY: tuple[Code, ...] = (
    Code(
        "MSH201",
        "Certificate or key unreadable",
        "The text is not what PEM is: truncated, of another kind, or not a certificate or key at all.",
        "Give the whole file as it was issued, including the BEGIN and END lines.",
    ),
    Code(
        "MSH202",
        "Private key in the trust bundle",
        "The trust bundle goes into every proxy and is public. It holds a private key.",
        "Take the key out of the bundle and replace it where others could have read it.",
    ),
    Code(
        "MSH203",
        "Key type not accepted",
        "Linkerd takes ECDSA P-256 for the issuer, and that or RSA 2048 or 4096 for a trust anchor. The "
        "charts do not check it.",
        "Issue the certificate again with an ECDSA key on the curve P-256.",
    ),
    Code(
        "MSH204",
        "Signature algorithm not accepted",
        "Linkerd verifies ECDSA and RSA signatures with SHA-256 only.",
        "Issue the certificate again with a SHA-256 signature.",
    ),
    Code(
        "MSH205",
        "Not a certificate authority",
        "Anchor and issuer sign other certificates; this one may not.",
        "Issue it again as a CA: basic constraints CA true, key usage keyCertSign.",
    ),
    Code(
        "MSH206",
        "Path length too small",
        "A CA in the chain allows fewer CAs below it than there are. Proxies refuse such a chain.",
        "Issue that CA again with a path length of at least the allowed one, or with none.",
    ),
    Code(
        "MSH207",
        "Issuer not signed by a trust anchor",
        "Proxies trust what the anchors signed. This issuer is signed by something else.",
        "Give the anchor that signed the issuer, or an issuer that one of the anchors signed. An "
        "intermediate CA goes after the issuer in its file.",
    ),
    Code(
        "MSH208",
        "Key does not belong to the certificate",
        "Certificate and private key are not a pair.",
        "Give the key with which the certificate was requested.",
    ),
    Code(
        "MSH209",
        "Certificate expired",
        "A certificate past its end stops every new connection.",
        "Renew the certificate.",
    ),
    Code(
        "MSH210",
        "Certificate not valid yet",
        "The certificate begins in the future.",
        "Wait until it is valid, or set the clock of the machine that issued it right.",
    ),
    Code(
        "MSH211",
        "Certificate expires soon",
        "Fewer days are left than meshup:identity.minimumDaysLeft.",
        "Renew the certificate. For issuers that live for days only, let cert-manager keep them: identity.externalCA.",
    ),
    Code(
        "MSH212",
        "Certificate should be renewed",
        "The certificate is still good, and its end is near enough to plan for.",
        "Renew the certificate.",
    ),
    Code(
        "MSH213",
        "Private key has a passphrase",
        "Nobody is there to type it when linkerd-identity starts.",
        "Store the key without a passphrase, as a Pulumi secret: openssl pkey -in KEY.",
    ),
    Code(
        "MSH214",
        "Issuer outlives its anchor",
        "The end of the anchor is the end of everything below it, whatever the issuer says.",
        "Rotate the trust anchor before it ends: docs/identity.md.",
    ),
    Code(
        "MSH215",
        "Signing anchor is not trusted",
        "identity.signer names an anchor that is not in identity.anchors.",
        "Add it to identity.anchors, or name one that is there.",
    ),
    Code(
        "MSH216",
        "Rotation step left out",
        "The issuer would move to an anchor that running proxies do not trust yet, or the old anchor "
        "would leave while certificates under it are in use. Either breaks connections.",
        "Rotate in three runs: add the new anchor; make it the signer; remove the old one (docs/identity.md).",
    ),
    Code(
        "MSH217",
        "File can't be read",
        "A file that the configuration names is missing or not readable.",
        "Correct the path; a relative path starts at the folder of Pulumi.yaml.",
    ),
    Code(
        "MSH218",
        "Identity settings contradict each other",
        "An identity is either made by meshup, or brought, or kept by an external CA in the cluster.",
        "Keep the settings of one of the three ways.",
    ),
    Code(
        "MSH219",
        "Repeated trust anchor",
        "The same anchor stands twice.",
        "Remove one of the two.",
    ),
    Code(
        "MSH220",
        "Validity and renewal window do not fit",
        "The renewal window has to be shorter than the validity, or every run would renew.",
        "Give a renewBefore that is shorter than the validity.",
    ),
    Code(
        "MSH221",
        "Clock not understood",
        "The environment variable MESHUP_NOW sets the clock and is not a time with a zone.",
        "Unset MESHUP_NOW, or write a time such as 2027-03-01T00:00:00Z.",
    ),
    Code(
        "MSH222",
        "Private key in plain configuration",
        "A key in the stack's configuration file has to be encrypted: the file is kept in the repository.",
        "Set it with `pulumi config set --secret --path`, and replace the key, since it has been in plain text.",
    ),
)

MESH: tuple[Code, ...] = (
    Code(
        "MSH301",
        "Chart directory not there",
        "meshup:charts.directory is not a directory.",
        "Point meshup:charts.directory to a directory with one sub-directory per chart.",
    ),
    Code(
        "MSH302",
        "Chart missing",
        "The chart directory lacks a chart that the mesh is installed from.",
        "Put the chart there, for example with `helm pull --untar`.",
    ),
    Code(
        "MSH303",
        "Not the chart",
        "The directory has no readable Chart.yaml with the name and version of the chart.",
        "Put the unpacked chart there, with its Chart.yaml.",
    ),
    Code(
        "MSH304",
        "Chart has another version",
        "The chart in the directory has another version than the configuration asks for.",
        "Change the version in the configuration, leave it out, or put the other chart there.",
    ),
    Code(
        "MSH305",
        "Not a chart repository",
        "The address is neither an HTTP repository nor an OCI registry.",
        "Write https://HOST/PATH or oci://HOST/PATH.",
    ),
    Code(
        "MSH306",
        "Version not supported",
        "meshup sets values and relies on behaviour of certain versions of the mesh; this one is outside.",
        "Use a supported version.",
    ),
    Code(
        "MSH307",
        "Gateway without injection",
        "The pods of a gateway get their image from the injection webhook, which is switched off.",
        "Set meshup:istio.webhooks to true, or remove the gateways.",
    ),
    Code(
        "MSH311",
        "Not a Gateway API bundle",
        "The file or address holds something else than the objects of a Gateway API release.",
        "Give the release manifest standard-install.yaml of the project, or a directory with its files.",
    ),
    Code(
        "MSH312",
        "Gateway API bundle is not the pinned one",
        "Both meshes take one version in common. Another one, or a changed file, is not installed.",
        "Give the standard channel of the pinned version, unchanged.",
    ),
    Code(
        "MSH313",
        "Gateway API on the cluster does not fit",
        "Another owner installed the bundle, in a version that the mesh does not take: it would ignore routes "
        "silently.",
        "Upgrade that bundle where it was installed, or remove it so that meshup installs its own.",
    ),
    Code(
        "MSH314",
        "Gateway API of the experimental channel",
        "Experimental fields are accepted there that the mesh does not read.",
        "Install the standard channel where the bundle was installed, or remove it.",
    ),
    Code(
        "MSH315",
        "Upgrade guard of the Gateway API in the way",
        "The admission policy of another owner decides which bundles may be installed.",
        "Remove the ValidatingAdmissionPolicy and its binding, or install the bundle beside it.",
    ),
    Code(
        "MSH316",
        "Too few nodes for high availability",
        "The replicas of the control plane have to run on three nodes; with fewer, their pods stay Pending. Only nodes "
        "count that are ready, not cordoned, run Linux and have no taint that keeps these pods away.",
        "Add nodes, set tolerations or nodeSelector in meshup:linkerd.values.control-plane, or set "
        "meshup:linkerd.highAvailability to false.",
    ),
    Code(
        "MSH317",
        "Gateway API can't be fetched",
        "The release manifest could not be downloaded.",
        "Set meshup:gatewayApi.manifest to a file or a directory, or put gateway-api into meshup:charts.directory.",
    ),
    Code(
        "MSH318",
        "Chart repository can't be reached",
        "Helm would fail in the middle of the run, after the first resources.",
        "Check the network, or set meshup:charts.directory to a directory with the charts of the mesh.",
    ),
    Code(
        "MSH319",
        "linkerd-viz settings without linkerd-viz",
        "Settings of the extension are there, and it is not enabled.",
        "Set meshup:linkerd.viz.enabled to true, or remove the settings.",
    ),
    Code(
        "MSH321",
        "Another installation of the mesh",
        "A control plane that this stack did not make answers webhooks of the same mesh. Two would write the same "
        "objects of the cluster, and judge each other's.",
        "Choose another cluster, or remove the other one with the tool that made it (`istioctl uninstall`, `helm "
        "uninstall`, `linkerd uninstall`), once its workloads can do without. If it is gone and only its webhooks are "
        "left, delete these.",
    ),
    Code(
        "MSH322",
        "Two meshes in one namespace",
        "Another mesh adds its proxy to the pods of a namespace of this stack. With two proxies, each takes the "
        "connections of the other.",
        "Take the label or annotation of the other mesh off the namespace, or choose another namespace.",
    ),
    Code(
        "MSH323",
        "Another mesh on the cluster",
        "Several meshes can share a cluster as long as no namespace is in two of them.",
        "Nothing, as long as it stays out of the namespaces of this stack.",
    ),
    Code(
        "MSH324",
        "CustomResourceDefinitions of another installation",
        "Helm takes over only what carries the name and namespace of its release. It would fail after the first "
        "resources.",
        "Hand the definitions over to the release, if no other installation uses them any more; else choose another "
        "cluster.",
    ),
    Code(
        "MSH325",
        "The mesh is changed for another",
        "The new mesh is made first, then the applications move, then the old mesh goes. Pods of the two meshes do not "
        "trust each other: with mtls: strict, requests between those that have moved and those that have not are "
        "refused until all have. Pods that meshup does not make keep the old proxy until they are restarted.",
        "Run with meshup:mtls set to permissive first, change the mesh in the next run, and restart workloads of your "
        "own after it.",
    ),
    Code(
        "MSH326",
        "Control plane would be removed first",
        "Another revision or namespace makes another Helm release, and the old one is deleted before the new one is "
        "made. Meanwhile no pod starts in the mesh, and proxies get no news.",
        "Leave revision and namespace as they are; another version is installed in place. To change them all the same, "
        "plan an interruption: `pulumi destroy`, then `pulumi up`.",
    ),
)

CATALOGUE: dict[str, Code] = {entry.code: entry for entry in (*CONFIGURATION, *TRAFFIC, *IDENTITY, *MESH)}
"""Every code by its name."""
