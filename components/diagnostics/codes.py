"""The catalogue of every diagnostic code of meshup: one table, from which docs/diagnostics.md is generated.

To add a code, add an entry to its area: a line with the code and the title, what is wrong and why it matters, and after
`Remedy:` what the user does about it where the place that raises it says nothing more exact. A code is never given a
new meaning, since pipelines match on it; where two turn out to mean the same, the later one becomes an alias.
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


AREAS = {
    "MSH0": "Configuration and target cluster",
    "MSH1": "Traffic",
    "MSH2": "Identity and certificates",
    "MSH3": "Mesh installation",
    "MSH4": "Gateways",
    "MSH5": "Security",
    "MSH6": "Observability",
    "MSH7": "Operations",
}
"""The title of each area, by the beginning of its codes."""

ALIASES = {
    "MSH101": "MSH001",
    "MSH102": "MSH002",
    "MSH103": "MSH003",
    "MSH104": "MSH004",
    "MSH105": "MSH005",
    "MSH108": "MSH006",
    "MSH113": "MSH007",
}
"""Codes that traffic had for what any configuration can have, and the codes that reports use now."""

ENTRIES = """
MSH001 Wrong type
  The value has another type than the key takes: text where a number is expected, a list where a mapping is.
  Remedy: Write a value of the type that the key takes; numbers stand without quotes.
MSH002 Unknown key
  meshup does not know this key. It would have no effect, so it is refused.
  Remedy: Correct the spelling or remove the key: docs/configuration.md lists all keys.
MSH003 Missing key
  A key that has no default is not there, or its value is empty.
  Remedy: Set the key.
MSH004 Value not allowed
  The value is not in the set that the key takes.
  Remedy: Use one of the allowed values.
MSH005 Number out of range
  The number is outside the range that the key takes.
  Remedy: Use a number in the range.
MSH006 Not a legal name
  Kubernetes does not take this as a name: it needs lower-case letters, digits and '-', at most 63 characters, with a
  letter or digit at both ends.
  Remedy: Use a DNS label (RFC 1123).
MSH007 Keys that exclude each other
  Two keys are set of which only one may be.
  Remedy: Keep one of the keys.
MSH008 Environment not known
  The stack is not named after an environment, and meshup:environment does not name one, so there is no preset to
  start from.
  Remedy: Run `pulumi config set meshup:environment dev` (or staging, or prod).
MSH009 Namespace not free
  The namespace already has another use: Kubernetes' own, the control plane's, or another part of this stack.
  Remedy: Choose another namespace.
MSH010 Not an exact version
  A version is pinned exactly, so that every run installs the same. Ranges and names such as `latest` move.
  Remedy: Write three numbers, such as 1.30.3.
MSH011 Secret where it can't stay one
  The value of this key shows in stack outputs and in the names of objects, so it can't be a secret.
  Remedy: Set the key again without `--secret`.
MSH012 Listed twice
  A list has the same entry twice.
  Remedy: Keep one of them.
MSH013 Not a path
  No file system takes this as the path of a file or a directory.
  Remedy: Write the path of a file or directory; a relative one starts at the project.
MSH014 Too deep or not plain data
  The value nests deeper than any configuration needs, or holds a number that is none: what reads it would end
  half-way.
  Remedy: Write plain mappings, lists, texts and finite numbers, at most 100 deep.
MSH015 Resources not possible
  Kubernetes does not take this as a quantity of CPU, memory or storage, or no pod that requests more than its limit.
  The pods would never start.
  Remedy: Write a number and a unit, such as 500m, 2, 512Mi or 1Gi, and a limit that is at least the request.
MSH016 Not an image registry
  The container runtime does not take this as the beginning of an image's name, so no image could be pulled.
  Remedy: Write HOST[:PORT]/PATH, such as registry.example.org/mesh.
MSH017 Not an address
  The mesh does not accept this as a domain, port, network, endpoint or URL. Linkerd would drop it with a line in a log,
  or its proxies would not start.
  Remedy: Correct the address.
MSH018 Setting of the Kubernetes provider not usable
  The Kubernetes provider reads whatever is not `true` as false, and ends on JSON that it does not expect.
  Remedy: Write true or false, or JSON with the keys of the provider.
MSH020 Cluster not named
  meshup never deploys to whatever context happens to be current, so the stack must name its cluster.
  Remedy: Run `pulumi config set kubernetes:context NAME` with a name that `kubectl config get-contexts -o name`
  lists.
MSH021 Kubeconfig not readable
  The kubeconfig is not there or is not a kubeconfig, so the cluster can't be found.
  Remedy: Point KUBECONFIG, or the key kubernetes:kubeconfig, to a kubeconfig file.
MSH022 Context not in the kubeconfig
  The kubeconfig has no context of this name.
  Remedy: Set kubernetes:context to one of the contexts of the kubeconfig.
MSH023 Cluster does not answer
  The API server of the named context can't be reached.
  Remedy: Check that the cluster runs and that its address can be reached from here: `kubectl --context NAME version`.
MSH024 Cluster refuses the credentials
  The API server answers, but does not let these credentials read what meshup must know before it deploys.
  Remedy: Log in again, or use credentials that may install the mesh: cluster-admin, or the role of the mesh in
  docs/rbac/ (docs/own-cluster.md).
MSH025 Kubernetes too old
  The mesh does not support this version of Kubernetes.
  Remedy: Upgrade the cluster, or install a version of the mesh that supports it.
MSH026 Object belongs to someone else
  The cluster already has an object of this name that this stack did not make, and its state does not have it. Taking
  it over could destroy it later, so it is left alone.
  Remedy: Rename one of the two, or hand the object over: docs/own-cluster.md says how, and what follows.
MSH027 Many routes, one resource each
  Pulumi writes the state of the stack twice for each resource that it makes, so the time of a first `up` grows with
  the square of their number on a backend of files.
  Remedy: Set meshup:delivery to release before the first `up`, if that `up` takes too long:
  docs/decisions/0002-scale.md.
MSH028 Release too large
  Helm keeps its record of a release in one Secret, and Kubernetes takes no Secret above 1 MiB.
  Remedy: Set meshup:delivery to objects, or move some of the Services to another namespace or stack.
MSH029 Delivered the other way
  The objects in the cluster were delivered in the other way. If both ways held them, one would delete what the other
  has just made, and requests would fail.
  Remedy: Set meshup:delivery back, or hand the objects over as docs/decisions/0002-scale.md describes.
MSH030 File of routes not usable
  The file that meshup:trafficFile names is not there, is not a YAML mapping, or has a route that is elsewhere as well.
  Remedy: Correct the path or the file: it holds routes as they stand under meshup:traffic.
MSH031 Cluster does not answer as asked
  The API server answers, but with an error that is not about rights. meshup can't tell then what is on the
  cluster, so it deploys nothing.
  Remedy: Look at what the API server says; `kubectl --context NAME get --raw PATH` asks it again. If it is busy or
  starting, try again later.
MSH032 Credentials not to be had
  The kubeconfig's user is not there, a file that it names can't be read, or its credential plugin is missing, fails,
  or does not end.
  Remedy: Run `kubectl --context NAME version`, which uses the same credentials, and correct the user of the
  kubeconfig. A plugin must work without a terminal.
MSH033 Kinds of the cluster unknown
  The API server lists a group of kinds and does not say what is in it, most often because the server behind an
  APIService is down. meshup can't tell then whether an object exists that it would overwrite.
  Remedy: Run `kubectl --context NAME get apiservices`, and repair or delete those that are not available.
MSH034 Setting of the Kubernetes provider not possible
  With this setting, the Kubernetes provider would deploy elsewhere than meshup looks, or not deploy at all.
  Remedy: Remove the key or the environment variable, or set it to what is allowed.
MSH035 Kubernetes newer than the mesh knows
  The project of the mesh says nothing of this version of Kubernetes. It is deployed all the same: most new versions
  take nothing away.
  Remedy: Try it on a cluster that may break, or install a version of the mesh that supports it.
MSH036 Object of two stacks
  The object carries the name of another stack, and the states of both have it. A `pulumi destroy` of one would take
  it from the other.
  Remedy: Forget it in the state of the stack that shall not have it: `pulumi state unprotect URN` if it is protected,
  then `pulumi state delete URN`. Both leave the object alone.
MSH037 Objects taken over
  The state of this stack has objects that do not carry its name: they were imported, or the stack was renamed or has
  moved to another backend.
  Remedy: Nothing, if that is so. If another backend still has a stack of the former name, remove that with `pulumi
  stack rm --force`, which leaves the objects alone, and never destroy it.
MSH040 Namespace is not there
  meshup:namespaces names a namespace that the cluster does not have, or is deleting. A patch of one that is not there
  would make it, and leave it behind.
  Remedy: Make the namespace first, correct its name, or let meshup make it: `create: true`.
MSH041 Setting of a namespace without effect
  The key does nothing here: this mesh does not have it, or it needs another key beside it.
  Remedy: Remove the key.
MSH042 Label of the namespace is somebody else's
  The namespace has the label or annotation by which it would join, with another value. The API server would refuse the
  change as a conflict, or the former value would be lost: destroy does not bring it back.
  Remedy: Remove it where it is set, or set `takeOver: true`, which overwrites it for good.
MSH043 Namespace is in another mesh, or another revision
  The namespace has a label or annotation by which another control plane injects its proxy as well, or instead.
  Remedy: Remove that label or annotation, or leave the namespace out of meshup:namespaces.
MSH044 Namespace would be deleted
  This stack has made the namespace, and the configuration no longer says so. Pulumi would delete it with everything in
  it.
  Remedy: Write `create: true`. To keep the namespace without this stack, docs/own-namespaces.md says how it is handed
  out.
MSH045 Pod Security too strict for a sidecar
  The namespace enforces a Pod Security Standard that refuses the pods that the mesh injects into: without a CNI plugin,
  their init container needs NET_ADMIN and NET_RAW. Running pods stay; their next restart would fail.
  Remedy: Relax the label pod-security.kubernetes.io/enforce, or use the CNI plugin of the mesh.
MSH046 Pods without the sidecar of the mesh
  A sidecar is added when a pod is made. These pods were made before the namespace joined, or by another version of the
  mesh, and stay as they are until somebody replaces them.
  Remedy: Restart them, or set `restart: true` for the namespace.
MSH047 Namespace has left the mesh
  Somebody has removed the label or annotation that meshup had set. Pulumi's state still has it, so a plain `up` changes
  nothing.
  Remedy: Run `pulumi up --refresh`, or remove the namespace from meshup:namespaces.
MSH048 Namespace is in the mesh all the same
  The configuration says `inject: false`, and the namespace carries a label or annotation by which a mesh injects. It is
  not this stack's, so it stays.
  Remedy: Remove it where it is set, or write `inject: true`.
MSH049 Namespace without an injector
  The namespace joins by a label that no webhook of the mesh on the cluster selects: that of a revision or tag that is
  not there, or the webhook is switched off. Its pods get no sidecar, and nothing else says so.
  Remedy: Choose a revision or a tag that is there: `kubectl get mutatingwebhookconfigurations --show-labels`.
MSH050 No mesh to be used
  With `install: false` the stack uses a mesh that is there, and the cluster has none: neither a control plane in the
  namespace nor a webhook that leads to one.
  Remedy: Check kubernetes:context, set `namespace` to that of the control plane, or let the stack install the mesh.
MSH051 Several control planes
  The mesh that is there has several control planes, and the configuration does not say which one the namespaces of this
  stack join.
  Remedy: Set the key to one of those that are listed.
MSH052 Setting of an installation
  The key sets something that is installed, and with `install: false` nothing is: it would have no effect.
  Remedy: Take the key out, or set it where the mesh is installed.
MSH053 Version of a mesh that is there
  The version of the mesh that is there is not one that meshup knows. Of older ones it is not known what they make of a
  route; newer ones are taken for the newest one that is known.
  Remedy: Upgrade the mesh, or use a version of meshup that supports it.
MSH054 Configuration and mesh disagree
  The configuration says something of the mesh that is there, and it is otherwise. This stack does not change it.
  Remedy: Write what the mesh has, leave the key out, or have it changed by whoever runs the mesh.
MSH055 Service of two stacks
  Another stack has routes for the same Service. The mesh follows the object of one of them, or mixes both, and a
  destroy of one would take away what the other relies on.
  Remedy: Take the routes of the Service out of one of both stacks.
MSH056 Service routed by somebody else
  An object that meshup did not make decides on the same Service. Where the mesh follows only one of both, it says
  nothing about the other one, so that is refused.
  Remedy: Delete the object, take the Service out of `meshup:traffic`, or take the object over with `meshup adopt`.
MSH057 Mesh of this stack not to be used
  The stack has installed the mesh that it is told to use. `pulumi up` would delete the mesh.
  Remedy: Set `install` to true, or take the mesh out of the stack before.
MSH058 No such revision
  The mesh that is there has no control plane and no tag of this name.
  Remedy: Set `revision` to one of those that are listed.
MSH060 Nothing to adopt
  There is no mesh on the cluster that `meshup adopt` could describe, or there are several.
  Remedy: Check the context, and name the mesh with `--mesh`.
MSH061 Object stays as it is
  `meshup adopt` can't express the object as a route, or another stack has it. It goes on as it is, and is nobody's.
  Remedy: Keep it and leave its Service out of `meshup:traffic`, or write its route by hand and delete it.
MSH062 Changed when it is adopted
  The stack would not have exactly what runs: the first `pulumi up` upgrades the release with this difference.
  Remedy: Look at the difference in `pulumi preview --diff`, and set the key that has the value, or `values`.
MSH063 Files of a stack not written
  `meshup adopt --write` writes files that are not there yet, and never over others.
  Remedy: Choose another name with `--stack`, or leave `--write` out and copy what is printed.
MSH064 Control plane without a release
  Helm has no record of the control plane: it was installed by istioctl, an operator or a cloud provider.
  Remedy: Go on with `install: false`, or install another revision by meshup and move the namespaces to it.
MSH106 Unknown Service
  No application of the stack has this Service in this namespace, and the configuration does not describe it.
  Remedy: Name a Service of an application in meshup:apps, or describe your own with `namespace`, `port` and
  `versions`, as `meshup discover` does.
MSH107 Unknown version
  The Service has no version of this name: the weight would go to an endpoint that does not exist.
  Remedy: Name one of the versions of the Service.
MSH109 Port not known or not clear
  The Service does not have this port, or it has several and the configuration does not say which.
  Remedy: Set `port` to one of the port numbers of the Service.
MSH110 Weights do not sum to 100
  The weights of one rule are percents. If they do not sum to 100, either the meaning is not clear or a part of the
  traffic is not accounted for.
  Remedy: Change the weights so that they sum to 100.
MSH111 Weight is not a whole percent
  A weight is an integer from 0 to 100.
  Remedy: Write an integer from 0 to 100, without quotes and without a fraction.
MSH112 No backend
  A split or a list of backends is empty: requests would have nowhere to go.
  Remedy: Name at least one version with its weight.
MSH114 Repeated backend
  One rule has the same backend twice, so its share is not clear.
  Remedy: Keep one entry with the sum of the weights.
MSH115 Not a duration
  A duration is an integer with one unit. Linkerd rejects `1m30s` in an annotation and silently drops it in a route;
  the Gateway API takes at most five digits.
  Remedy: Write an integer and one unit, such as 90s or 1500ms.
MSH116 Two routes for one Service
  Two entries govern the same port of the same Service. The meshes merge such objects or let one shadow the other.
  Remedy: Put the rules of both into one route.
MSH117 Repeated rule name
  Two rules of a route have the same name, so outputs and messages could not tell them apart.
  Remedy: Give each rule a name of its own.
MSH118 Not a path
  The path can't match, or the API server refuses it (Gateway API v1.5.1, HTTPPathMatch).
  Remedy: Write an absolute path without a query.
MSH119 Not a name of a header, cookie or parameter
  HTTP does not take this as a name (RFC 9110, token).
  Remedy: Use letters, digits and !#$%&'*+.^_`|~-.
MSH120 Not a regular expression of both meshes
  Envoy reads RE2, Linkerd reads Rust's syntax. The pattern uses something that at least one of them does not have.
  Remedy: Keep to groups, classes, alternatives and repetition; or match by prefix or exact text.
MSH121 Retries contradict themselves
  Zero attempts switch retries off, so conditions and back-off have no meaning. Istio rejects that; Linkerd reads a
  limit of 0 as its default.
  Remedy: Remove the other keys, or set attempts to 1 or more.
MSH122 Circuit breaker contradicts itself
  A setting of the ejection has no effect, or its limits exclude each other.
  Remedy: Set consecutiveErrors, and let maxEjection be at least ejection.
MSH126 Name of a version's Service is taken
  A backend of an HTTPRoute is a Service, so each version needs one of its own. The name that it would get belongs to
  a Service with another selector or without the port.
  Remedy: Rename the version or the other Service.
MSH127 Two objects of one name
  Two routes would make the same object with different contents; one would overwrite the other.
  Remedy: Rename a rule, a version or a Service.
MSH128 Two APIs for one Service
  A VirtualService and an HTTPRoute (or a ServiceProfile and an HTTPRoute) on one Service shadow each other: on
  Linkerd the profile switches the split off (observed), on Istio the result is not defined.
  Remedy: Use one API for all ports of a Service.
MSH129 API not known to the mesh
  The mesh of the stack does not read the API that is asked for.
  Remedy: Leave `api` out, or choose one that the mesh reads.
MSH130 Catch-all added
  No rule takes every request. On both meshes an unmatched request gets 404 as soon as a Service has any route, so
  meshup adds a last rule to the whole Service.
  Remedy: Add a last rule without `match` to choose for yourself.
MSH131 Feature not available
  The target can't do this. meshup refuses it, because the mesh would drop it, or the whole route, without a word.
  Remedy: Remove it, or choose a mesh and `api` that can (see the table in docs/traffic.md).
MSH132 Beyond the limits of one route
  The API server takes at most 16 rules and 128 matches in one HTTPRoute (Gateway API v1.5.1).
  Remedy: Join rules that have the same backends.
MSH133 Version makes no legal Service name
  The Service of a version is named like the Service and the version together; the API server does not take that name.
  Remedy: Shorten the name of the version.
MSH134 Order that the mesh would not keep
  Rules mean their order. HTTPRoutes have none: each mesh ranks their matches in its own way (Istio: exact, prefix,
  regex; Linkerd: the length of the matched path, then headers, query, method). For the request that the report shows,
  which both rules match, the mesh would take the later one, and the outcome would be another.
  Remedy: Put the rule that the mesh prefers first, or let the matches exclude each other.
MSH135 Order that depends on the age of objects
  On Linkerd, rules with different timeouts or retries are separate objects. Where their matches rank the same, the
  older object wins.
  Remedy: Give the rules the same policies, or matches that exclude each other.
MSH136 Rules in several objects
  Linkerd keeps timeouts and retries for a whole route object, so rules with different ones become several objects on
  the same Service.
  Remedy: Nothing needs to be done.
MSH137 gRPC retries outside a GRPCRoute
  Linkerd reads the conditions on gRPC status only from a GRPCRoute.
  Remedy: Make all matches of the route matches on `grpc`, and declare the port to be gRPC.
MSH138 Pods of the Service not known
  A rate limit is placed at the pods, and the Service of a version selects some of them; the labels that the Service
  selects are not known.
  Remedy: Add `selector`.
MSH139 Port is not HTTP
  The name or the appProtocol of the port says another protocol. The mesh would forward bytes and apply no rule on
  requests.
  Remedy: Name an HTTP port, or correct its name or appProtocol.
MSH140 Version selects no pod
  The labels of the version contradict the selector of the Service: no pod has both (istioctl analyze calls it
  IST0173).
  Remedy: Let the Service select what its versions have in common.
MSH141 Versions select the same pods
  The labels of one version are among those of another, so the weights do not divide the pods.
  Remedy: Give each version a label value of its own.
MSH142 Rule that no request reaches
  Earlier rules take every request that this one matches. Paths, headers, cookies, query and method are compared as
  sets, not as text.
  Remedy: Put it before the other, or remove it.
MSH143 Match without effect
  Another match takes every request of this one.
  Remedy: Remove it.
MSH144 Timeout of an attempt without retries
  With one attempt, its timeout is that of the request. On an Istio HTTPRoute it would even replace it.
  Remedy: Add `retries`, or set the timeout of the request.
MSH145 Attempt longer than the request
  One attempt may take longer than the whole request; the API server refuses that in an HTTPRoute.
  Remedy: Make `perTry` at most as long as `request`.
MSH146 Retries that do not fit
  All attempts together may take longer than the request; the last ones never happen when each takes its time.
  Remedy: Raise the request timeout or take fewer attempts.
MSH147 Fault that disables timeout or retries
  Istio applies neither timeouts nor retries on a route that injects faults (VirtualService, HTTPFaultInjection).
  Remedy: Remove them from the rule, or inject the fault at the Service behind it.
MSH148 Redirect with a policy
  A redirect answers the request itself; there is no backend that the policy could act on, and Istio rejects some of
  them.
  Remedy: Keep only the redirect in the rule.
MSH149 Prefix to replace not clear
  The API server takes a prefix rewrite only in a rule with exactly one match on a path prefix.
  Remedy: Give the rule one match on a path prefix.
MSH150 Mirror to a live backend
  The version gets its share of the requests and copies of others: it does work twice, and its numbers mean nothing.
  Remedy: Mirror to a version without weight.
MSH151 Affinity across versions
  Session affinity is a hash over the endpoints of one destination. With weights over several versions, each request
  draws its version anew (istio/istio#19630).
  Remedy: Choose the version by a match on a cookie or header.
MSH152 Policies of a Service in two routes
  Circuit breaking, load balancing, affinity and retry budget belong to the Service. Of two DestinationRules for one
  host, the second is dropped.
  Remedy: Put them into one route.
MSH153 Egress port with two protocols
  One port of a host outside the mesh is declared with two protocols.
  Remedy: Give one protocol.
MSH154 Retries without a budget
  A ServiceProfile retries as long as its budget lasts, and none is set.
  Remedy: Add `retryBudget`.
MSH155 Route not declared
  The stack declares no route of this name.
  Remedy: Name one of the routes of `meshup:traffic`.
MSH156 Order that versions of Linkerd differ in
  Between a match on a method and one on headers or query parameters, the proxy of edge-26.8.3 prefers the headers
  (observed); other versions prefer the method, as the Gateway API says. An upgrade would change who gets the request.
  Remedy: Give the rules matches that exclude each other.
MSH157 Policies that some requests do not meet
  A route sends requests to another Service. On Istio the policies of the Service that a request goes to hold, on
  Linkerd the circuit breaker of the Service that was called.
  Remedy: Declare the policies at the other Service too.
MSH158 Retry budget without retries
  Linkerd retries nothing unless a rule says so, so the budget has no effect. On Istio it limits the retries that
  every route has by default.
  Remedy: Let a rule retry by the budget, or remove it.
MSH159 TCP host takes the whole port
  Plain TCP has no host name that a proxy could read. Istio sends every connection on the port that nothing else takes
  to the one TCP host (istioctl analyze calls it IST0134).
  Remedy: Use TLS or HTTPS if the client speaks it; otherwise give the host a port that no other host has.
MSH160 Two rate limits for the same pods
  A rate limit holds at a port of the pods, whatever Service they are called by. Linkerd's webhook refuses a second
  Server for it; on Istio a request would have to pass both limits.
  Remedy: Keep one of them.
MSH161 ServiceProfile for every port
  A ServiceProfile has the name of the Service, without a port: its routes hold for all ports, and a Service has
  one.
  Remedy: Nothing needs to be done if the other ports speak no HTTP; otherwise tell them apart by the path.
MSH162 Too much work to compare
  Rules mean their order, so meshup compares their matches, exactly. A few patterns of a few characters can take more
  than any machine has, so the steps of a configuration are counted, and there is a limit.
  Remedy: Write the patterns with fewer and smaller repetitions, prefixes or exact texts in their place, or give the
  route fewer matches.
MSH163 Too much work to explain
  To decide a request takes more steps than meshup counts to: patterns with many repetitions, and a request with a
  long path, header or parameter.
  Remedy: Ask for one route, or with a shorter request.
MSH164 Redirect loop
  A client that follows the redirect meets the same rule again. Envoy redirects it once more, without end; Linkerd
  sends a request for that address to the Service.
  Remedy: Redirect elsewhere, or put a rule with backends for the new address before it.
MSH165 Redirect that drops the query
  Where a redirect names a path, Linkerd leaves the query of the request out of the new address; Envoy keeps it.
  Remedy: Nothing needs to be done if no client sends a query there; otherwise let the application redirect.
MSH166 Service to annotate is not there
  Linkerd reads circuit breaking from annotations of the Service. meshup adds them to a Service that it does not make,
  and there is none of this name on the cluster.
  Remedy: Make the Service first, or correct its name or namespace.
MSH167 Annotation is somebody else's
  The Service has one of the annotations of the circuit breaker with another value, and another field manager owns it.
  The API server would refuse the change as a conflict.
  Remedy: Remove the annotation where it is set, or remove the circuit breaker from the configuration.
MSH168 GRPCRoute takes the whole port
  Linkerd serves a port with a GRPCRoute as gRPC: HTTP/2 only, and of that only POST. meshup writes one only for a
  port that is declared to be gRPC; elsewhere matches on `grpc` become an HTTPRoute.
  Remedy: Nothing needs to be done if all callers of the port are gRPC clients.
MSH169 appProtocol that Linkerd does not know
  Linkerd forwards connections to a port with an unknown `appProtocol`, such as `grpc` or `http2`, without looking at
  requests. No rule would hold there.
  Remedy: Write `kubernetes.io/h2c`, which Istio knows too, or leave `appProtocol` out of the Service.
MSH170 Request that can't be sent
  `meshup explain` was asked about a request that no client can send: its path, method, query or a header has
  characters that HTTP does not take there.
  Remedy: Write the request as it is sent: percent-encoded, without blanks.
MSH171 Service is not on the cluster
  A route is for a Service, or sends requests to one, that is not there. Objects of a mesh may name what does not exist,
  so nothing else would say it.
  Remedy: Correct name or namespace, or deploy the Service.
MSH172 Namespace of a route is not on the cluster
  The objects of a route are made in the namespace of its Service. The API server would refuse them.
  Remedy: Correct the namespace, or make it first.
MSH173 Namespace is not in the mesh
  Routes are followed by the sidecars of the callers, and limits are kept by those of the Service. Pods in this
  namespace have none.
  Remedy: Put the namespace into the mesh and restart its pods.
MSH174 Port differs from the Service's
  Objects are compiled from the ports that the configuration declares. The Service on the cluster has no such port, or
  says of it another protocol, or another port of the pods.
  Remedy: Declare the port as the Service has it.
MSH175 Rules on a port that is not read as HTTP
  The mesh forwards connections to this port as they are, because of its name, its appProtocol or its number. Every
  rule on requests is ignored there, without a word.
  Remedy: If the port speaks HTTP, say so in the Service: `appProtocol: http`, or kubernetes.io/h2c for gRPC.
MSH176 Protocol of a port is left to detection
  Nothing in the Service says what the port speaks. The mesh decides by the first bytes of each connection; what is not
  recognised in time is forwarded as it is, and no rule holds.
  Remedy: Say it in the Service: `appProtocol: http`, or kubernetes.io/h2c for gRPC.
MSH177 Selector differs from the Service's
  Objects are compiled from the labels that the configuration declares. The Service on the cluster selects other pods.
  Remedy: Declare the selector as the Service has it.
MSH178 Kind of Service that routes do not go with
  The Service on the cluster is headless or an ExternalName, or is declared to be headless and is not.
  Remedy: Route a Service with a cluster IP.
MSH179 Version without ready pods
  A rule sends requests to a version of a Service, and no pod of it is ready to answer.
  Remedy: Deploy the version, correct its labels, or give it no weight.
MSH180 Pods of no version
  The Service has pods that no version of the route describes. Rules that name versions send them nothing.
  Remedy: Nothing needs to be done if these pods are not to be called; otherwise add their version.
MSH181 Service that can't be described
  `meshup discover` found a Service to which no route can be written as it is.
  Remedy: Change the Service, or write the route by hand.
MSH182 Service has a route already
  `meshup discover` writes routes for Services that have none; it changes no route that is there.
  Remedy: Change the route where it is, or remove it first.
MSH183 Traffic file can't be written
  `meshup discover --write` adds routes to the file that meshup:trafficFile names, and leaves every other byte as it is.
  Remedy: Add by hand what the command prints without --write.
MSH184 Override of what is not there
  `meshup:trafficOverrides` changes fields of routes that the stack has, in meshup:traffic or in its file. There is no
  such route, or no such entry of a list.
  Remedy: Name a route, and entries of lists by name or position from 0.
MSH185 Field of a route is overridden
  This stack has another value than the shared route, by `meshup:trafficOverrides`.
  Remedy: Nothing needs to be done.
MSH201 Certificate or key unreadable
  The text is not what PEM is: truncated, of another kind, or not a certificate or key at all.
  Remedy: Give the whole file as it was issued, including the BEGIN and END lines.
MSH202 Private key in the trust bundle
  The trust bundle goes into every proxy and is public. It holds a private key.
  Remedy: Take the key out of the bundle and replace it where others could have read it.
MSH203 Key type not accepted
  Linkerd takes ECDSA P-256 for the issuer, and that or RSA 2048 or 4096 for a trust anchor. The charts do not check
  it.
  Remedy: Issue the certificate again with an ECDSA key on the curve P-256.
MSH204 Signature algorithm not accepted
  Linkerd verifies ECDSA and RSA signatures with SHA-256 only.
  Remedy: Issue the certificate again with a SHA-256 signature.
MSH205 Not a certificate authority
  Anchor and issuer sign other certificates; this one may not.
  Remedy: Issue it again as a CA: basic constraints CA true, key usage keyCertSign.
MSH206 Path length too small
  A CA in the chain allows fewer CAs below it than there are. Proxies refuse such a chain.
  Remedy: Issue that CA again with a path length of at least the allowed one, or with none.
MSH207 Issuer not signed by a trust anchor
  Proxies trust what the anchors signed. This issuer is signed by something else.
  Remedy: Give the anchor that signed the issuer, or an issuer that one of the anchors signed. An intermediate CA goes
  after the issuer in its file.
MSH208 Key does not belong to the certificate
  Certificate and private key are not a pair.
  Remedy: Give the key with which the certificate was requested.
MSH209 Certificate expired
  A certificate past its end stops every new connection.
  Remedy: Renew the certificate.
MSH210 Certificate not valid yet
  The certificate begins in the future.
  Remedy: Wait until it is valid, or set the clock of the machine that issued it right.
MSH211 Certificate expires soon
  Fewer days are left than meshup:identity.minimumDaysLeft.
  Remedy: Renew the certificate. For issuers that live for days only, let cert-manager keep them: identity.externalCA.
MSH212 Certificate should be renewed
  The certificate is still good, and its end is near enough to plan for.
  Remedy: Renew the certificate.
MSH213 Private key has a passphrase
  Nobody is there to type it when linkerd-identity starts.
  Remedy: Store the key without a passphrase, as a Pulumi secret: openssl pkey -in KEY.
MSH214 Issuer outlives its anchor
  The end of the anchor is the end of everything below it, whatever the issuer says.
  Remedy: Rotate the trust anchor before it ends: docs/identity.md.
MSH215 Signing anchor is not trusted
  identity.signer names an anchor that is not in identity.anchors.
  Remedy: Add it to identity.anchors, or name one that is there.
MSH216 Rotation step left out
  The issuer would move to an anchor that running proxies do not trust yet, or the old anchor would leave while
  certificates under it are in use. Either breaks connections.
  Remedy: Rotate in three runs: add the new anchor; make it the signer; remove the old one (docs/identity.md).
MSH217 File can't be read
  A file that the configuration names is missing or not readable.
  Remedy: Correct the path; a relative path starts at the folder of Pulumi.yaml.
MSH218 Identity settings contradict each other
  An identity is either made by meshup, or brought, or kept by an external CA in the cluster.
  Remedy: Keep the settings of one of the three ways.
MSH219 Repeated trust anchor
  The bundle has the same anchor twice.
  Remedy: Remove one of the two.
MSH220 Validity and renewal window do not fit
  The renewal window has to be shorter than the validity, or every run would renew.
  Remedy: Give a renewBefore that is shorter than the validity.
MSH221 Clock not understood
  The environment variable MESHUP_NOW sets the clock and is not a time with a zone.
  Remedy: Unset MESHUP_NOW, or write a time such as 2027-03-01T00:00:00Z.
MSH222 Private key in plain configuration
  A key in the stack's configuration file has to be encrypted: the file is kept in the repository.
  Remedy: Set it with `pulumi config set --secret --path`, and replace the key, since it has been in plain text.
MSH301 Chart directory not there
  meshup:charts.directory is not a directory.
  Remedy: Point meshup:charts.directory to a directory with one sub-directory per chart.
MSH302 Chart missing
  The chart directory lacks a chart that the mesh is installed from.
  Remedy: Put the chart there, for example with `helm pull --untar`.
MSH303 Not the chart
  The directory has no readable Chart.yaml with the name and version of the chart.
  Remedy: Put the unpacked chart there, with its Chart.yaml.
MSH304 Chart has another version
  The chart in the directory has another version than the configuration asks for.
  Remedy: Change the version in the configuration, leave it out, or put the other chart there.
MSH305 Not a chart repository
  The address is neither an HTTP repository nor an OCI registry.
  Remedy: Write https://HOST/PATH or oci://HOST/PATH.
MSH306 Version not supported
  meshup sets values and relies on behaviour of certain versions of the mesh; this one is outside.
  Remedy: Use a supported version.
MSH307 Gateway without injection
  The pods of a gateway get their image from the injection webhook, which is switched off.
  Remedy: Set meshup:istio.webhooks to true, or remove the gateways.
MSH311 Not a Gateway API bundle
  The file or address holds something else than the objects of a Gateway API release.
  Remedy: Give the release manifest standard-install.yaml of the project, or a directory with its files.
MSH312 Gateway API bundle is not the pinned one
  Both meshes take one version in common. Another one, or a changed file, is not installed.
  Remedy: Give the standard channel of the pinned version, unchanged.
MSH313 Gateway API on the cluster does not fit
  Another owner installed the bundle, in a version that the mesh does not take: it would ignore routes silently.
  Remedy: Upgrade that bundle where it was installed, or remove it so that meshup installs its own.
MSH314 Gateway API of the experimental channel
  Experimental fields are accepted there that the mesh does not read.
  Remedy: Install the standard channel where the bundle was installed, or remove it.
MSH315 Upgrade guard of the Gateway API in the way
  The admission policy of another owner decides which bundles may be installed.
  Remedy: Remove the ValidatingAdmissionPolicy and its binding, or install the bundle beside it.
MSH316 Too few nodes for high availability
  The replicas of the control plane have to run on three nodes; with fewer, their pods stay Pending. Only nodes count
  that are ready, not cordoned, run Linux and have no taint that keeps these pods away.
  Remedy: Add nodes, set tolerations or nodeSelector in meshup:linkerd.values.control-plane, or set
  meshup:linkerd.highAvailability to false.
MSH317 Gateway API can't be fetched
  The release manifest could not be downloaded.
  Remedy: Set meshup:gatewayApi.manifest to a file or a directory, or put gateway-api into meshup:charts.directory.
MSH318 Chart repository can't be reached
  Helm would fail in the middle of the run, after the first resources.
  Remedy: Check the network, or set meshup:charts.directory to a directory with the charts of the mesh.
MSH319 linkerd-viz settings without linkerd-viz
  Settings of the extension are there, and it is not enabled.
  Remedy: Set meshup:linkerd.viz.enabled to true, or remove the settings.
MSH321 Another installation of the mesh
  A control plane that this stack did not make answers webhooks of the same mesh. Two would write the same objects of
  the cluster, and judge each other's.
  Remedy: Choose another cluster, or remove the other one with the tool that made it (`istioctl uninstall`, `helm
  uninstall`, `linkerd uninstall`), once its workloads can do without. If it is gone and only its webhooks are left,
  delete these.
MSH322 Two meshes in one namespace
  Another mesh adds its proxy to the pods of a namespace of this stack. With two proxies, each takes the connections
  of the other.
  Remedy: Take the label or annotation of the other mesh off the namespace, or choose another namespace.
MSH323 Another mesh on the cluster
  Several meshes can share a cluster as long as no namespace is in two of them.
  Remedy: Nothing, as long as it stays out of the namespaces of this stack.
MSH324 CustomResourceDefinitions of another installation
  Helm takes over only what carries the name and namespace of its release. It would fail after the first resources.
  Remedy: Hand the definitions over to the release, if no other installation uses them any more; else choose another
  cluster.
MSH325 The mesh is changed for another
  The new mesh is made first, then the applications move, then the old mesh goes. Pods of the two meshes do not trust
  each other: with mtls: strict, requests between those that have moved and those that have not are refused until all
  have. Pods that meshup does not make keep the old proxy until they are restarted.
  Remedy: Run with meshup:mtls set to permissive first, change the mesh in the next run, and restart workloads of your
  own after it.
MSH326 Control plane would be removed first
  Another revision or namespace makes another Helm release, and the old one is deleted before the new one is made.
  Meanwhile no pod starts in the mesh, and proxies get no news.
  Remedy: Leave revision and namespace as they are; another version is installed in place. To change them all the
  same, plan an interruption: `pulumi destroy`, then `pulumi up`.
MSH401 Unknown gateway
  A route says that callers outside of the cluster reach it, and it is not clear by which gateway.
  Remedy: Name a gateway that stands under meshup:gateways.
MSH402 Host without a listener
  No listener of the gateway passes requests for the host to a route, so nobody reaches the Service by it (istioctl
  analyze IST0132).
  Remedy: Add the host to a listener of the gateway, or correct it.
MSH403 Host and path claimed twice
  Two routes want the requests for the same host and paths at one gateway. Which of them gets one would not be defined.
  Remedy: Give the routes different hosts, or different paths of the host.
MSH404 Listeners in conflict
  Two listeners of a gateway have the same port with different protocols, or the same port and host.
  Remedy: Give each listener a port or hosts of its own.
MSH405 TLS not complete
  A listener ends TLS without a certificate, has half of a pair of files, or has a certificate where no TLS ends.
  Remedy: Give every listener for https a certificate: a Secret, two files, or an issuer.
MSH406 Redirect leads nowhere
  Requests are sent on to HTTPS, port 443 of the same host, where no listener takes them.
  Remedy: Add a listener for https on port 443 with the same hosts.
MSH407 Gateway not available
  The mesh has no gateway of this kind of its own.
  Remedy: Leave out 'api', or name a GatewayClass that another controller on the cluster serves.
MSH408 TLS passed on unread
  A gateway that passes TLS on sees the host that the client names and nothing else, so no rule can hold there.
  Remedy: End TLS at the gateway with protocol https, or leave out what looks at requests.
MSH409 Paths can't be narrowed
  The gateway takes some paths for the route only, and what a rule says cannot be written for these alone.
  Remedy: Use exact paths and prefixes.
MSH410 Holds in the mesh only
  A part of the route holds for callers in the mesh, and not for those that come in by the gateway.
  Remedy: Nothing needs to be done if that is meant.
MSH411 Paths without a gateway
  The paths say what a gateway takes for the Service, and no gateway is named.
  Remedy: Add 'gateway' or 'hosts', or remove 'paths'.
MSH412 Certificate files not usable
  The files do not hold a certificate and its private key.
  Remedy: Name the file of the certificate with its chain, and that of its key, both PEM and not encrypted.
MSH413 TLS Secret not usable
  The listener would have no certificate to show: every connection to it would fail.
  Remedy: Make a Secret of the type kubernetes.io/tls in the namespace of the gateways.
MSH414 Certificate does not fit
  Clients refuse a certificate that is out of date, or that is for other hosts.
  Remedy: Renew the certificate, or name the one of the hosts.
MSH415 cert-manager is missing
  An issuer of cert-manager is named, and its CustomResourceDefinitions are not on the cluster.
  Remedy: Install cert-manager first, or use a Secret or files.
MSH416 Host claimed by others
  A route that this stack did not make takes the same host at the same gateway. Which of them gets a request is not
  defined.
  Remedy: Choose another host, or remove the other route.
MSH417 Gateway without an address
  The Service of the gateway has no address, so callers outside of the cluster can't reach it.
  Remedy: Install a load balancer for Services, or set serviceType to NodePort.
MSH418 GatewayClass is missing
  No controller on the cluster serves the GatewayClass, so nothing would make the pods of the gateway.
  Remedy: Install a controller first, and name its GatewayClass.
MSH419 Setting not available
  The API of the gateway has no field for the setting, so it would have no effect.
  Remedy: Remove the setting.
MSH420 Port not free
  The pods of the gateway use the port for themselves.
  Remedy: Choose another port.
MSH421 Wildcard hidden in part
  A host is more specific than a wildcard of another route, so the gateway asks the routes of the wildcard for none of
  its requests.
  Remedy: Nothing needs to be done if that is meant.
MSH501 Not possible on this mesh
  The mesh can't do this part of the policy. meshup refuses it, because the mesh would drop it, or open or close more
  than is written.
  Remedy: Remove it, or choose a mesh that can (see the table in docs/security.md).
MSH502 Two objects of one name
  Two parts of the policy would be objects of one kind, namespace and name. One of them would replace the other.
  Remedy: Rename one of the Services.
MSH503 Name of a Service not unique
  Several namespaces have a Service of this name.
  Remedy: Write NAME.NAMESPACE.
MSH504 Not a service account
  Callers are named by their service account. The identity that a mesh makes of it would match nothing here.
  Remedy: Write the name of a service account of the same namespace, or NAMESPACE/NAME.
MSH505 Not a network
  The mesh does not take this as a network of callers, or takes it for a wider one than is written.
  Remedy: Write the address of the network and the length of its prefix.
MSH506 Exception outside of its network
  What is left out of a network is no part of it, or all of it. Linkerd refuses that, and elsewhere it has no effect.
  Remedy: Leave out a smaller network inside of it.
MSH507 Account of a gateway not known
  Callers of a gateway are known by the service account of its pods. It is not known for a gateway outside of the mesh.
  Remedy: Name the service account of the gateway, or its addresses: {cidr: ...}.
MSH508 Wide open without a reason
  In prod, what is open to callers that nobody has named, or to plain text, needs a reason beside it.
  Remedy: Narrow it, or write `reason`.
MSH509 Exception has ended
  The exception from mutual TLS was meant to hold until a day that has passed.
  Remedy: Remove the exception, or set a later `until`.
MSH510 Not a set of public keys
  The mesh can't read the keys, so it would refuse every token.
  Remedy: Write a JSON Web Key Set (RFC 7517), as the issuer publishes it.
MSH511 Private key in a key set
  Whoever has this key can make tokens. The objects of a policy can be read by many, so it does not belong there.
  Remedy: Write the public keys only, and replace the key if it was published.
MSH512 Star that is no wildcard
  The star would stand for itself here. Istio reads it as a wildcard, Linkerd does not.
  Remedy: Write the value without a star.
MSH513 Host with a port
  A rule compares the host without the port.
  Remedy: Write the host alone, and the port as `port`.
MSH514 Claim that no token has
  The text of the claim is split at blanks, and its words are compared one by one.
  Remedy: List the words as values of their own.
MSH515 No way in from outside
  A preset allows the calls of users to the gateway that exposes the application, and there is none, or none whose
  service account is known.
  Remedy: Nothing needs to be done if that is meant.
MSH516 Trust domain of the mesh itself
  `trustDomain` names callers of another mesh. Those of this one have its trust domain anyway.
  Remedy: Remove `trustDomain`.
MSH517 Service without a selector
  Policies hold for pods. Without a selector, they would hold for all pods of the namespace, or for none.
  Remedy: Describe the Service with its `selector`.
MSH530 Call of an application is denied
  The application, or a gateway, makes the call, and the policy denies it. It would fail from the next `up` on.
  Remedy: Write a rule of `allow` for the call, or take a preset of the application.
MSH531 Rule that no known call needs
  The calls of the Service are known, and none of them needs what the rule opens. Least privilege would leave it out.
  Remedy: Remove it, unless something else makes the call.
MSH532 Rule adds nothing
  Other rules about the same Service take all that it takes.
  Remedy: Remove it.
MSH533 Allowed and denied
  A rule of `deny` wins over each rule of `allow`.
  Remedy: Remove one of them, or narrow the rule of deny.
MSH534 Caller that is nobody
  The account or the namespace that the rule names is not known, so the rule admits nobody until there is one. The
  meshes accept it in silence.
  Remedy: Correct the name, or create what it names.
MSH535 Account of several workloads
  The identity of a caller is its service account. Workloads that share one can't be told apart, on either mesh, so the
  rule grants more than it says.
  Remedy: Give each workload a service account of its own.
MSH536 Rule on requests where there are none
  The rule asks for a method, path, header, host or claim, and the mesh does not read requests at the port. Istio would
  drop the rule, or widen it if it is one of deny.
  Remedy: Declare the protocol of the port by its name or appProtocol, or write a rule without conditions on requests.
MSH537 Identity where none is demanded
  Only mutual TLS proves who a caller is, and the port takes callers without it.
  Remedy: End the exception from mutual TLS for the port.
MSH538 Outside of the mesh
  Pods without a sidecar show no identity as callers, and enforce nothing as receivers.
  Remedy: Put the pods into the mesh and restart them.
MSH539 Version or target not covered
  A route, or the versions of a Service, lead callers where the rules do not admit them, or where no policy holds.
  Remedy: Write the rules for all versions and all Services that the requests go to.
MSH540 Ports of the pods differ
  Policies hold for ports of pods. Where a port of the Service leads elsewhere, they hold for another port.
  Remedy: Give the port the same number in all pods.
MSH541 Tokens and rules do not fit
  Reading tokens refuses the wrong ones only. To need one, a Service must require it, or a rule must ask for its claims.
  Remedy: Set 'require: true' for the issuers whose tokens are needed.
MSH542 Preflight requests are denied
  A browser sends a preflight request (OPTIONS) without a token. Where a token is required, it is refused before what
  answers it is asked.
  Remedy: Nothing, if pages of other hosts don't call the Service; else answer preflight requests at the gateway.
MSH543 Probe is closed
  The kubelet is outside of the mesh and has no identity. A probe that fails restarts the pod, or keeps it out of the
  Service; one that the proxy answers tells nothing.
  Remedy: Use an HTTP probe, or one by a command.
MSH544 Metrics are closed
  Prometheus calls the port without a rule, or from outside of the mesh without an identity. Dashboards stay empty.
  Remedy: Write a rule for the account of Prometheus, or an exception from mutual TLS for the port.
MSH545 Webhook is closed
  The API server calls the port, and is outside of the mesh. Objects that a webhook must see can't be created.
  Remedy: Write a rule for everybody at the port, with an exception from mutual TLS.
MSH546 Policy on the control plane
  In the namespace of the control plane, policies of Istio hold for the whole mesh, gateways too; those of Linkerd cut
  off its own webhooks.
  Remedy: Write the policy for the namespaces of applications.
MSH547 Port is kept away from the sidecar
  What an annotation of the pods keeps away from the sidecar, no policy holds for.
  Remedy: Remove the port from skip-inbound-ports or excludeInboundPorts, or from the policy.
MSH548 Policy reaches nothing
  The policy is about what is not there, is not in the mesh, or changes nothing.
  Remedy: Correct the name, put the namespace into the mesh, or remove the policy.
MSH549 Key server out of reach
  The control plane fetches the keys of tokens. It is outside of the mesh, so a port that demands mutual TLS, or that
  rules close, refuses it; then every token is refused.
  Remedy: Write the keys as 'jwks', or open the port of the key server.
MSH550 Token where there are connections
  Istio reads the ports of the Service as TCP, where no request brings a token: nobody would be let in.
  Remedy: Declare the port as HTTP by its appProtocol or name, or take out 'require'.
MSH551 More is denied than is written
  Istio reads tokens on all ports of the pods of a Service. On a port that declares no protocol, it ignores the
  conditions of a rule that denies for whatever it does not recognize as HTTP.
  Remedy: Declare the port as HTTP by its appProtocol or name, or run what has other rules in other pods.
MSH552 Read otherwise by Istio
  Istio gives a character of the value another meaning, or never sees such a value.
  Remedy: Write a value without that character.
MSH553 Denial that callers get past
  Istio can't compare the value exactly, and what it misses would be let in.
  Remedy: Deny a whole prefix, or allow what is meant instead: what no rule allows is denied.
MSH554 Two Sidecars for a namespace
  Istio takes one Sidecar object for all pods of a namespace, and does not say which of two.
  Remedy: Remove 'egressHosts' of the namespace from meshup:namespaces, or its 'egress' from meshup:security.
MSH555 Host that Istio does not open alone
  A host outside of the cluster is opened for a namespace by one ServiceEntry. One for TCP takes every connection on its
  port.
  Remedy: Write the host in one place only, and its protocol as HTTP or HTTPS where it is one of them.
MSH556 More rules than an object has
  An AuthorizationPolicy has at most 512 rules, and a rule at most 512 sources.
  Remedy: Join rules: several callers, methods and paths in one; a namespace in place of its accounts.
MSH557 Two modes of mutual TLS for the same pods
  Istio takes the oldest PeerAuthentication that selects a pod, and ignores the others.
  Remedy: Write the exceptions for one Service, or give the pods labels that tell them apart.
MSH560 Method that no route can name
  On Linkerd, HTTPRoutes decide who may send a request with a method, and they know the nine methods of HTTP and no
  others.
  Remedy: Leave the method out, or choose Istio.
MSH562 More conditions than a route holds
  The rules for a port overlap in so many ways, or need a path match of so many characters, that HTTPRoutes can't hold
  them.
  Remedy: Write fewer or simpler conditions for the port: prefixes in place of templates and single paths.
MSH563 Prefix that dot segments pass
  Linkerd compares paths as they are sent. `/public/../admin` begins with `/public`, and an application that resolves
  the dots serves `/admin`.
  Remedy: Let the application refuse such paths, or name exact paths.
MSH564 Probe that everybody may call
  Linkerd admits requests for the path of a probe from everybody, since it can't tell the kubelet from others. A rule
  for the same request does not hold.
  Remedy: Let the probe ask for a path that is nobody's business.
MSH565 Probes are not known
  With the first HTTPRoute at a port, Linkerd stops to admit probes by itself. meshup writes routes for the probes of
  the pods that it knows, and of these it knows none.
  Remedy: Name the application in `apps`, or run with a cluster on which the pods are.
MSH566 Two Servers for the same pods
  Linkerd takes one Server for a port of a pod, the older one. Two Services that select some of the same pods by other
  labels would have one each.
  Remedy: Describe only one of them, or give both the same selector.
MSH567 Audit opens to plain callers
  Linkerd audits a port by opening it to everybody, and counts who would be refused. Callers without mutual TLS get in
  too, however strict the mesh is.
  Remedy: Audit for a short time only.
MSH570 Who may call what changes
  The next `pulumi up` answers some requests in another way than the objects on the cluster do now. All known callers
  are compared with all Services that are there.
  Remedy: Look through the list. Nothing needs to be done if that is meant.
MSH571 A known call will be denied
  An application makes a call that works now, and that the objects of the next `pulumi up` deny.
  Remedy: Allow it, or leave it denied if the application does without.
MSH572 Allowed by others too
  An object that this stack did not make allows callers of the same pods. What several objects allow adds up, so the
  policy is wider on the cluster than in the configuration.
  Remedy: Remove the object, or take its rules over into the policy.
MSH573 Denied by others first
  An object that this stack did not make denies some callers of the same pods, and that wins over whatever allows them.
  Remedy: Remove the object if it should not hold, or take its rules over into the policy.
MSH574 Decided in place of the policy
  An object that this stack did not make is for the same pods as one of the policy, and the mesh follows only one of
  both.
  Remedy: Remove one of both: the other object, or what asks for that of the policy.
MSH575 Issuer read twice
  Two objects read tokens of one issuer for the same pods. Which of them holds is not defined.
  Remedy: Take the issuer out of one of both.
MSH576 Route of others on a guarded port
  A route that this stack did not make hangs on the Server of a port that the policy guards, so some requests are asked
  by its authorizations in place of those of the policy.
  Remedy: Remove the route, or take its rules over into the policy.
MSH577 Namespace not of this stack
  The mesh closes a namespace by an annotation, and the namespace is neither made nor joined by this stack.
  Remedy: Name the namespace under meshup:namespaces.
MSH578 Set by the policy too
  A setting of the sidecars in a namespace says another thing than its policy.
  Remedy: Remove one of both.
MSH579 Exceptions come too late
  Mutual TLS of the whole mesh changes with the mesh, before the objects of the policy. A call that an exception allows
  would be denied in between.
  Remedy: Bring up the exceptions in a run of their own, and change the mode in the next one.
MSH580 Caller not known
  No account, workload, Service or gateway of the stack, of its rules or of the cluster has the name of the caller. A
  decision for a caller that is not there would say nothing.
  Remedy: Name an account (NAMESPACE/ACCOUNT), a workload, or a gateway (gateway:NAME); --plain is a caller without one.
MSH581 Service not known
  Neither an application of the stack, nor a route, nor meshup:security describes a Service of this name.
  Remedy: Name one of the Services, or describe it under meshup:security.services.
MSH582 Port not known
  The Service has no port of this number or name. The port of a Service and that of its pods may differ.
  Remedy: Name a port of the Service.
MSH583 Claims not readable
  The claims of a token are a JSON object, written out or in a file.
  Remedy: Correct the text or the file. Write the claims, not the signed token.
MSH584 Objects contradict the configuration
  The objects that are written for the policy decide a request in another way than the policy says. Unless a warning of
  the preview says that the mesh differs there, this is a defect of meshup.
  Remedy: Report it with the configuration and the request. Until it is mended, go by what the objects do.
MSH585 Cluster decides otherwise
  By its objects, the cluster decides a request in another way than the stack as it is configured: the stack has not
  been deployed since a change, or somebody else has changed or added objects.
  Remedy: Run `pulumi preview` to see what the next `up` changes, and look for policies that the stack did not make.
MSH590 NetworkPolicy for more than an account
  A NetworkPolicy selects pods by labels and namespaces. It lets in pods of other accounts too, which the mesh then
  refuses.
  Remedy: Nothing needs to be done: the rules hold in the mesh. Pods with labels of their own make it narrower.
MSH591 NetworkPolicy leaves a condition out
  A rule has a condition that a NetworkPolicy can't express. The NetworkPolicy is wider there; the mesh decides.
  Remedy: Nothing needs to be done: the rules hold in the mesh.
MSH592 NetworkPolicy opens a port for a host
  A NetworkPolicy knows addresses, not names. So that a host of `egress` can be reached, its port is open to every
  address.
  Remedy: Name its addresses in `cidrs` in place of the host, if they are fixed.
MSH593 NetworkPolicy without effect
  A namespace asks for NetworkPolicies, and there is nothing for them to close.
  Remedy: Remove networkPolicy, or set `default: deny`.
MSH594 Pods of a Service not told apart
  A NetworkPolicy selects the pods of a Service by its selector. Without one, or where two Services may select the same
  pods, it opens ports on more pods than the rules name.
  Remedy: Give the Service a selector that no other one overlaps with.
MSH595 NetworkPolicy closes addresses that are no pods
  With egress denied, a NetworkPolicy opens pods and the networks that are named. The API server and pods on the network
  of their node have other addresses.
  Remedy: Add the addresses that the pods need to `cidrs`.
MSH596 Metrics not readable
  `meshup security learn` could not read what a proxy or a Prometheus has counted. What only it has seen is not in the
  proposal.
  Remedy: Check the address, or the right to get pods/proxy, and repeat the command.
MSH597 No traffic counted
  Nothing that was read counts a call of a Service of the stack, so there is nothing to propose.
  Remedy: Send the traffic that the rules are to allow. On plain Envoys, such as those of the embedded cluster, set
  `meshup:prometheus: {metrics: envoy}` before, run `pulumi up`, and restart the pods.
MSH598 Access log not readable
  A file with access logs can't be read.
  Remedy: Name a file with access logs in JSON, such as `kubectl logs` prints them.
MSH599 NetworkPolicy closes further ports
  Once a NetworkPolicy selects a pod, all of its ports are closed but for those that some NetworkPolicy opens. The mesh
  governs TCP ports of Services only.
  Remedy: Describe the ports that are needed as ports of a Service, or write a NetworkPolicy of your own for them.
MSH601 Share that no metric shows
  The proxies' counters do not tell the requests of one rule, or of one version, apart from others, so that there is a
  declared share and no measured one.
  Remedy: Give each rule backends of its own, or the pods of each version the label `version`.
MSH602 Bound that is not counted
  An objective for latency names a bound by which not every proxy counts requests. Between two bounds the share of fast
  requests can only be guessed.
  Remedy: Take the next bound.
MSH603 Metrics that the mesh does not have
  Prometheus is told to read metrics that the proxies of this mesh do not have, so that every rule would stay empty.
  Remedy: Set `metrics: auto`.
MSH604 Rules too large
  The rules of all routes are in one ConfigMap, and Kubernetes takes at most 1 MiB.
  Remedy: Spread the routes over several stacks.
MSH620 Add-on that is there and is to be installed
  An add-on has the address of a server that runs already, and is to be installed as well, so that it would not be known
  which of the two is meant.
  Remedy: Remove `enabled`, or the address.
MSH621 Credentials in an address
  What stands in an address is plain text in the state of the stack, in logs and in the configuration of what connects.
  Remedy: Put the user and the password, or the token, into a Secret, and name it in `login`.
MSH622 Add-on without Prometheus
  What an add-on shows is read from Prometheus, and the stack has none and knows of none.
  Remedy: Set `enabled: true` in `meshup:prometheus`, or the `url` of yours.
MSH623 Kiali without Istio
  Kiali reads the objects, the control plane and the metrics of Istio. It knows nothing of another mesh.
  Remedy: Remove `meshup:kiali`. On Linkerd, `linkerd.viz` and `meshup:grafana` show the mesh.
MSH624 Graph that stays empty
  Kiali draws its graph from Istio's standard metrics. The statistics of an Envoy without Istio's filters have other
  names, so that Kiali shows objects and no traffic.
  Remedy: Use `meshup:grafana` for these proxies.
MSH625 Traces that Kiali can't read
  Kiali reads traces from Jaeger or Tempo, and has no way to ask Zipkin.
  Remedy: Enable `meshup:jaeger`, or look at traces in Zipkin.
MSH626 Password that stays
  Grafana reads its administrator's password when it starts without a database, and its volume has one. The Secret gets
  another password, and Grafana does not take it.
  Remedy: Run `grafana cli admin reset-admin-password` in the pod with the password of the Secret, or do without
  `storage`: dashboards and data sources come from the stack.
MSH630 Collector without a store
  The collector is installed, and no store of traces that it could send spans to, so that all of them are lost. Access
  logs are not affected.
  Remedy: Enable `meshup:zipkin` or `meshup:jaeger`, or set `endpoint` of `meshup:collector`.
MSH631 Prometheus operator missing
  `mode: operator` writes PodMonitors and PrometheusRules, and the cluster does not have these kinds.
  Remedy: Install the Prometheus operator before, or set `mode: chart`.
MSH632 Prometheus beside the operator
  The cluster has the Prometheus operator, whose Prometheus could do what another one is installed for. It is not used
  unasked, since a change of the mode takes what was measured with it.
  Remedy: Set `mode`.
MSH633 Objects that no Prometheus selects
  A Prometheus of the operator reads the objects whose labels and namespaces its selectors name, and ignores all others
  without a word. None names those of this stack.
  Remedy: Set `operator.labels` of `meshup:prometheus` to what the selectors name.
MSH634 Prometheus that may not scrape
  A namespace denies by default, which on Linkerd closes the metrics of its proxies as well. A Prometheus that meshup
  does not install itself is opened to only if its service account is known.
  Remedy: Set `serviceAccount` of `meshup:prometheus`.
MSH635 Setting of an add-on without effect
  What is written beside a setting takes its place, or is of a mode that does not read it, so that it would be dropped
  in silence.
  Remedy: Remove one of the two.
MSH640 Traces without a collector
  Nothing is named that the proxies could send spans to, or only what does not take them as they send them.
  Remedy: Write `collector`, or enable meshup:collector, which takes what the proxies of any mesh send.
MSH641 Setting of traces or access logs that the mesh does not have
  The proxies of this mesh can't do what is asked for. docs/observability.md has a table of what each mesh can.
  Remedy: Remove it, or choose a mesh that can.
MSH642 Setting of the other kind of installation
  Where a stack installs its mesh, meshup tells it where spans and access logs go. The configuration of a mesh that
  somebody else has installed is not meshup's to change: traces need one of its own providers there.
  Remedy: Take the key that is for this kind of installation.
MSH643 Collector without an identity
  Linkerd's proxies send spans only to pods of the mesh whose service account they have been told.
  Remedy: Set `serviceAccount`.
MSH644 Traces begin at the caller
  Linkerd's proxies start no trace. They add their spans to requests that carry a trace context, which an application,
  or a gateway that is no proxy of Linkerd, has begun.
  Remedy: None needed, if applications or gateways start traces.
MSH645 Namespace outside of the stack
  Traces and access logs are set for a namespace that the stack does not have in the mesh.
  Remedy: Name a namespace of an application or of meshup:namespaces, or that of the gateways.
MSH646 Access logs without a collector
  Access logs are to be sent to a collector, and there is none that takes them.
  Remedy: Enable meshup:collector.
MSH647 Field that the access log has
  A further field has the name of one that each line of the access log has already, which `meshup security learn` reads.
  Remedy: Choose another name.
MSH648 Collector that is not there
  Istio traces nothing, in silence, where it does not know the Service of the collector, and proxies refuse their
  configuration where the Service does not have the port.
  Remedy: Deploy the collector first, or correct the key.
MSH649 Telemetry of two in one namespace
  An object that meshup did not make says what the proxies of the same namespace report. Istio follows one object
  without a selector in each namespace, the oldest.
  Remedy: Delete it, and write what it says under meshup:tracing and meshup:accessLogs.
MSH650 Pods that log as before
  Linkerd's injector tells a proxy about access logs when its pod is made.
  Remedy: Restart the workloads.
MSH651 Collector out of sight
  A list of hosts says which Services the proxies of a namespace know, and the collector is none of them. A proxy that
  is told to send spans to a Service that it does not know refuses its whole configuration.
  Remedy: Add the collector to the list.
MSH652 Access logs with a part of the requests
  `meshup security learn` narrows rules to the paths that access logs have. The stack has its proxies log only some
  requests, so that the rules would deny the others.
  Remedy: Take `filter` and `sampling` out while the logs are gathered, or learn from metrics alone.
MSH660 Proxy that can't be read
  `meshup top` or `meshup watch` could not read what a proxy has counted. The requests that its pod sends are missing in
  the figures. It is asked again after a minute.
  Remedy: Look at the pod. Reading needs the right to get pods/proxy in its namespace. Where a policy of Linkerd denies
  by default, only Prometheus is let in: enable `meshup:prometheus`.
MSH661 Prometheus that can't be asked
  `meshup top` or `meshup watch` asks the Prometheus of the stack through the API server, or that at `--prometheus`, and
  it does not answer as one.
  Remedy: `--proxies` reads the proxies themselves. If only the way through the API server is closed, open another one
  with `kubectl port-forward` and name it with `--prometheus`.
MSH662 Prometheus without meshup's series
  The Prometheus has no requests of this mesh under meshup's names: its rules are not loaded, it does not scrape the
  proxies, or there was no request within its last five minutes.
  Remedy: Load what `meshup rules` prints, and scrape what `meshup rules --jobs` prints.
MSH663 Proxies that count nothing
  No proxy has a counter of requests to Services: there was none since they were started, or they do not keep them. An
  Envoy without Istio's own metrics keeps those of clusters only where proxyStatsMatcher says so.
  Remedy: Send requests. On plain Envoys, such as those of the embedded cluster, set
  `meshup:prometheus: {metrics: envoy}`, run `pulumi up`, and restart the pods.
MSH700 Right missing
  The credentials may not read, create or change something that the plan has. `pulumi up` would stop there, with the
  rest made half.
  Remedy: Have the right granted: docs/rbac has a role with all of them.
MSH701 Right to delete missing
  The credentials may create an object and not delete it. `pulumi destroy`, and an `up` that replaces or removes it,
  would fail.
  Remedy: Have the right granted: docs/rbac has a role with all of them.
MSH702 Object refused
  In a dry run, the API server refuses an object of the plan as it is. `pulumi up` would stop there.
  Remedy: Change what the message names: a setting of the stack, a chart value, or what is on the cluster already.
MSH703 Object denied by admission
  A webhook or an admission policy of the cluster denies an object of the plan. `pulumi up` would stop there.
  Remedy: Change the setting that the policy objects to, or have an exception made for the namespaces of the mesh.
MSH704 Webhook that does not answer
  The API server asks a webhook that does not answer, and refuses everything that the webhook is to judge.
  Remedy: Repair what answers the webhook, or delete its configuration if that is gone.
MSH705 Pods refused by Pod Security
  The namespace enforces a Pod Security Standard that pods with a sidecar violate. Workloads would have no pods.
  Remedy: Use the CNI plugin of the mesh, or label the namespace `pod-security.kubernetes.io/enforce: privileged`.
MSH706 Pods refused by a quota or a limit
  With the requests of its sidecar, a pod is over a ResourceQuota or outside of a LimitRange of the namespace.
  Remedy: Raise the quota or the range, or lower the resources of sidecars and pods.
MSH707 Pods denied by admission
  A webhook or an admission policy denies pods with a sidecar in this namespace. Workloads would have no pods.
  Remedy: Have an exception made for this namespace, or change what the policy objects to.
MSH708 No sidecar in spite of the label
  The namespace has joined the mesh, its webhook is there, and pods start without a sidecar.
  Remedy: Compare the namespaceSelector of the webhook with the labels of the namespace, and its revision.
MSH709 Role that gives away more than its author has
  The charts make roles for the mesh, and Kubernetes lets nobody give away rights that they don't have themselves.
  Remedy: Have `escalate` and `bind` on roles granted, as docs/rbac has them, or the rights that the message names.
MSH710 Network that bypasses sidecars
  The network of the cluster chooses the pod before the sidecar sees the call, so that routes have no effect.
  Remedy: Set the value in the chart or the configuration of the network, and restart its pods and the meshed ones.
MSH711 Plugin of the mesh removed
  The network of the cluster removes the CNI plugin of the mesh. Pods start without redirection, outside of the mesh.
  Remedy: Set the value in the chart or the configuration of the network, and restart its pods.
MSH712 Probes that don't reach pods
  Pods with an interface of their own don't get the probes of the kubelet through the node, and never become ready.
  Remedy: Set the variable of the DaemonSet, and restart it.
MSH713 Webhooks may not be reached
  The API server calls the webhooks of the mesh at ports of pods. Where it runs outside of the cluster's network, a
  firewall or a missing route stands between both, and no pod starts.
  Remedy: Open the ports from the control plane to the nodes. A dry run proves it once the mesh is there.
MSH714 Addresses outside of the cluster's networks
  Linkerd finds Services only for addresses in its cluster networks. For others the proxies have no routes and policies,
  and no mutual TLS.
  Remedy: Set `clusterNetworks` to the networks of pods and Services, with those of nodes.
MSH715 NetworkPolicy that cuts sidecars off
  A NetworkPolicy keeps all pods of a meshed namespace from the control plane. Their sidecars get no certificate and no
  routes, and the pods never become ready.
  Remedy: Add an egress rule to the namespace of the control plane.
MSH720 Node not ready
  A node does not run pods. A DaemonSet of the plan does not become ready on it, and what ran there is elsewhere.
  Remedy: Look at the conditions and events of the node, repair or remove it.
MSH721 No node for pods
  No node takes a pod without tolerations, so that everything stays Pending until the release times out.
  Remedy: Add a node, or take cordons and taints off one.
MSH722 Kubelet too old
  The kubelet of a node is older than what the mesh supports. Pods with a sidecar may not start there.
  Remedy: Upgrade the node, or cordon it.
MSH723 Native sidecars turned off by old nodes
  Istio makes sidecars native, which start before and end after the application, only if every kubelet can run them.
  Remedy: Upgrade the nodes, or cordon and remove the old ones.
MSH724 Architecture without images
  The nodes of this architecture take pods, and there are no images of the mesh for it.
  Remedy: Taint these nodes, or keep the pods away by node selectors in `values`.
MSH725 Traffic may not be redirected
  The init container of a pod redirects its traffic by the kernel of the node, which may lack what that needs. The pod
  then ends with an error at its start.
  Remedy: Load the modules on the nodes, use the CNI plugin of the mesh, or set the other mode.
MSH726 Replicas on one node
  The control plane has several replicas, and there are no two nodes for them.
  Remedy: Add nodes, or have one replica.
MSH727 No room on the nodes
  Pods of the plan, with their sidecars, ask for more than the nodes have left. They would stay Pending until the
  release times out.
  Remedy: Add nodes, or lower `replicas` and `resources`.
MSH730 Clocks differ
  This machine and the API server don't have the same time. Certificates that meshup makes may start in the future of
  the cluster, which then refuses them.
  Remedy: Set the clocks by NTP.
MSH731 Clock of a node
  The heartbeat of a node is in the future, or late: its clock is wrong, or its kubelet does not reach the API server.
  Its proxies would take valid certificates for expired ones, or for ones of the future.
  Remedy: Set the clock of the node by NTP, and look at its kubelet.
MSH740 Webhook of somebody else without an answer
  A webhook that fails closed takes pods of the plan, and nobody answers it. No pod starts there.
  Remedy: Repair its Service, or delete the configuration if what it belonged to is gone.
MSH741 Control plane of somebody else
  A control plane of the same mesh runs, which this stack has not made. Both write the same objects of the cluster.
  Remedy: Use it with `install: false`, take it over with `meshup adopt`, or remove it.
MSH742 Two labels of injection
  A namespace carries two labels or annotations of injection. Only one decides, which is seldom the one that is meant.
  Remedy: Remove the label or annotation that is not meant.
MSH743 Being deleted
  Something that the plan needs is being deleted, and can't be made until it is gone.
  Remedy: Wait until it is gone. If it stays, look at its finalizers and conditions.
MSH744 CustomResourceDefinition not served
  The definition is there and the API server does not serve it, so no object of the kind can be made.
  Remedy: Correct what its conditions name, such as a name that another definition has.
MSH750 API that does not answer
  An aggregated API does not answer. Kubernetes then finishes no deletion of a namespace, and clients fail to list
  kinds.
  Remedy: Repair the Service behind the API, or delete the APIService if that is gone.
MSH751 No metrics to scale by
  An autoscaler of the plan needs the metrics API, which the cluster does not have.
  Remedy: Install metrics-server, or set `replicas` in place of `autoscaling`.
MSH752 Nothing gives out addresses
  A Service of type LoadBalancer waits for its address, and Helm for the Service, until the release times out.
  Remedy: Install a load balancer, or set `serviceType`.
MSH760 Charts not rendered
  Without the helm command, the objects of the charts are unknown: rights, room, images and a dry run cover only what
  meshup makes itself.
  Remedy: Install Helm 3 on this machine, or compare the rights with docs/rbac.
MSH761 Chart that does not render
  Helm does not make objects of the chart with these values, and the provider would not either.
  Remedy: Correct the values, or the place of the charts.
MSH770 Control plane missing
  The mesh of the stack has no control plane where the stack has it. Proxies keep what they have, and no new pod joins.
  Remedy: Run `pulumi up`; with `--refresh` if Pulumi's state still has the release.
MSH771 Workload not ready
  A workload of the stack, of the mesh or of a namespace of the mesh has fewer ready pods than it asks for, or is still
  being rolled out.
  Remedy: Look at its events, and at the logs of its pods.
MSH772 Control plane of another version
  None of the images of the control plane has the version that the stack has: somebody has changed it, or the last `up`
  has not come so far.
  Remedy: Run `pulumi up`; with `--refresh` if somebody has changed the release.
MSH773 Workload missing
  The stack has this workload, and the cluster does not: it was deleted, or not deployed yet.
  Remedy: Run `pulumi up --refresh`.
MSH774 Webhook without an answer
  The API server asks a webhook of the mesh that nobody answers. With failurePolicy Fail it refuses pods or
  configuration, with Ignore pods start without a sidecar and wrong configuration is stored.
  Remedy: See why the pods of the control plane are not ready. If the Service is gone, run `pulumi up --refresh`.
MSH775 Webhook that the API server does not trust
  The caBundle of a webhook does not verify the certificate of what answers it, so every call fails.
  Remedy: Of Istio, restart istiod, which writes its own. Of Linkerd, run `pulumi up --refresh`.
MSH776 Namespace without an injector
  A namespace of the stack is to be in the mesh. It has lost its label or annotation, or no injector of the control
  plane selects it: new pods start without a sidecar.
  Remedy: Run `pulumi up --refresh`, then restart the workloads that have no sidecar.
MSH777 Kind of the mesh not served
  A CustomResourceDefinition of the mesh is missing or not served, so its objects are gone or can't be read.
  Remedy: Run `pulumi up --refresh`.
MSH778 Object missing
  The stack has this route, policy or gateway, and the cluster does not: it was deleted, or not deployed yet. Pulumi
  does not see that inside of a Helm release.
  Remedy: Run `pulumi up --refresh`; for routes in releases, `pulumi up` after `helm uninstall` of the release.
MSH779 Field changed
  A route, policy or gateway on the cluster differs from the stack in this field. Somebody has changed it, or the change
  is not deployed yet. Pulumi does not see that inside of a Helm release.
  Remedy: Run `pulumi up --refresh`, or write the change into the configuration.
MSH780 Namespace missing
  A namespace of the mesh, in which the stack has pods, does not exist.
  Remedy: Run `pulumi up --refresh`.
MSH781 Pod without a sidecar
  A pod in a namespace of the mesh has no proxy: no route and no policy of the mesh holds for it.
  Remedy: Restart its workload: `kubectl rollout restart`. If that does not help, `meshup preflight` tries a pod.
MSH782 Sidecar of another version
  The proxy of a pod is not the one that the control plane adds now: the pod is older than the last upgrade.
  Remedy: Restart its workload: `kubectl rollout restart`, or set `restart: true` in `meshup:namespaces`.
MSH783 Sidecar not ready
  The proxy of a pod does not run or has no configuration yet. Requests to the pod fail.
  Remedy: Look at the logs of the proxy: `kubectl logs POD --container NAME`.
MSH784 Sidecar with old trust anchors
  The pod was started before the trust anchors of Linkerd were changed. It refuses peers whose certificates lead to a
  new one only.
  Remedy: Restart its workload: `kubectl rollout restart`.
MSH785 Refused by its controller
  A controller says that a route, policy or gateway is not in force, or that something which it names is missing.
  Remedy: Correct what the message names; often a Service, a port or a Secret that is not there.
MSH786 Not judged yet
  No controller has said anything of a route, policy or gateway in its present form.
  Remedy: Wait a moment: `meshup health --wait 1m`. If it stays, look at the logs of the control plane.
MSH787 Webhook with another failure policy
  What the API server does while the injector does not answer is not what the stack has: refuse pods, or start them
  without a sidecar.
  Remedy: Run `pulumi up --refresh`, or set `webhookFailurePolicy` where the mesh has it.
MSH788 Certificate not valid now
  A certificate of the mesh has expired or is not valid yet. Proxies get no new certificates and refuse each other.
  Remedy: Renew it: meshup renews its own at `pulumi up`, of others see docs/identity.md.
MSH789 Certificate that expires
  A certificate of the mesh ends soon, and has not been renewed.
  Remedy: Run `pulumi up`, which renews meshup's own in time, or see why whatever renews it does not.
MSH790 Certificate that does not fit
  A certificate of the mesh can't be read, or is not signed by the trust anchors that the proxies have.
  Remedy: Compare it with `meshup:identity` and run `pulumi up --refresh`.
"""


def _catalogue() -> dict[str, Code]:
    blocks: list[tuple[str, str]] = []
    for line in ENTRIES.strip().splitlines():
        if line.startswith("MSH"):
            blocks.append((line, ""))
        else:
            head, text = blocks.pop()
            blocks.append((head, f"{text} {line.strip()}"))
    codes: dict[str, Code] = {}
    for head, text in blocks:
        code, _, title = head.partition(" ")
        meaning, _, remedy = text.partition(" Remedy: ")
        codes[code] = Code(code, title, meaning.strip(), remedy)
    return codes


CATALOGUE = _catalogue()
"""Every code that reports use."""
