"""Holds a Kubernetes manifest against the schemas of the oldest and the newest version that it is for, and its parts against
each other: what selects, probes or mounts something must find it. Needs no cluster.

  check.py MANIFEST
"""
import copy
import sys

import kubernetes_validate
import yaml

VERSIONS = ("1.25", "1.37")


def main(path):
    with open(path) as file:
        resources = list(yaml.safe_load_all(file))
    complaints = [complaint for resource in resources for complaint in against_schemas(resource)]
    complaints += against_each_other(resources) if not complaints else []
    for complaint in complaints:
        print(f"{path}: {complaint}", file=sys.stderr)
    if complaints or not notices_mistakes(resources):
        return 1
    print(f"{path}: {len(resources)} resources, good for Kubernetes {' to '.join(VERSIONS)}")
    return 0


def against_schemas(resource):
    name = f"{resource.get('kind')} {resource.get('metadata', {}).get('name')}"
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(resource, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            place = ".".join(str(step) for step in error.path)
            yield f"{name}: {place}: {error.message} (Kubernetes {version})"
        except (kubernetes_validate.SchemaNotFoundError, kubernetes_validate.InvalidSchemaError) as error:
            yield f"{name}: {error.message} (Kubernetes {version})"


def against_each_other(resources):
    named = {(resource["kind"], resource["metadata"]["name"]): resource["spec"] for resource in resources}
    of_kind = lambda kind: [spec for (one, _), spec in named.items() if one == kind]
    (workload,) = of_kind("StatefulSet")
    labels = workload["template"]["metadata"]["labels"]
    (container,) = workload["template"]["spec"]["containers"]
    ports = {port["name"] for port in container["ports"]}
    volumes = {claim["metadata"]["name"] for claim in workload["volumeClaimTemplates"]}
    probes = [container[f"{kind}Probe"]["httpGet"]["port"] for kind in ("startup", "liveness", "readiness")]
    services, policies = of_kind("Service"), of_kind("NetworkPolicy")
    selectors = [service["selector"] for service in services]
    selectors += [spec["selector"]["matchLabels"] for spec in [workload, *of_kind("PodDisruptionBudget")]]
    selectors += [policy["podSelector"]["matchLabels"] for policy in policies]
    used = {port["targetPort"] for service in services for port in service["ports"]} | set(probes)
    used |= {port["port"] for policy in policies for rule in policy["ingress"] for port in rule["ports"]}
    checks = {
        "a selector does not find the pod": all(selector.items() <= labels.items() for selector in selectors),
        f"of ports {sorted(used)} the container has only {sorted(ports)}": used <= ports,
        "a mounted volume has no claim": {mount["name"] for mount in container["volumeMounts"]} <= volumes,
        "the service of the StatefulSet is missing": ("Service", workload["serviceName"]) in named,
        "clients are told to dial a host that no service has": ("Service", advertised(container)) in named,
    }
    return [complaint for complaint, holds in checks.items() if not holds]


def advertised(container):
    return next(one["value"] for one in container["env"] if one["name"] == "MAILRAIL_ADVERTISED_ADDRESS")


def notices_mistakes(resources):
    """Whether the schemas refuse what is wrong on purpose; without that, silence would say nothing."""
    for resource in resources:
        for change in ({"spce": {}}, {"spec": {**resource["spec"], "unheardOf": 1}}, {"spec": "text"}):
            if not list(against_schemas(copy.deepcopy(resource) | change)):
                print(f"the schema of {resource['kind']} lets {list(change)} pass", file=sys.stderr)
                return False
    return True


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
