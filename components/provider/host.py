"""`pulumi-resource-meshup` serves the components to programs in any language (docs/package.md)."""

import importlib.metadata
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pulumi
from pulumi.errors import InputPropertiesError, InputPropertyErrorDetails
from pulumi.provider import ConstructResult, Provider
from pulumi.provider import main as serve
from pydantic.alias_generators import to_camel

from ..diagnostics import ConfigurationError, Diagnostic, errors
from .schema import PACKAGE, components, outputs

SCHEMA = Path(__file__).with_name("schema.json")


class ComponentServer(Provider):
    """Constructs the components that the engine asks for."""

    def construct(
        self, name: str, resource_type: str, inputs: pulumi.Inputs, options: pulumi.ResourceOptions | None = None
    ) -> ConstructResult:
        """Construct a component from its serialised inputs.

        Raises:
            InputPropertiesError: The arguments are not valid; the engine reports each fault at its property.
        """
        component = components()[resource_type]
        try:
            made = cast("Callable[..., pulumi.ComponentResource]", component)(name, inputs, options)
        except ConfigurationError as error:
            faults = [_fault(item) for item in errors(error.diagnostics)]
            raise InputPropertiesError(f"{resource_type} {name}", faults) from error
        return ConstructResult(made.urn, {to_camel(key): getattr(made, key) for key in outputs(component)})


def _fault(fault: Diagnostic) -> InputPropertyErrorDetails:
    fields = fault.as_dict()
    parts = [
        f"{fault.code}: {fault.message}",
        fields["value"] and f"Value: {fields['value']}.",
        fault.allowed,
        fault.remedy,
    ]
    # The path begins with the class of the arguments.
    return {"property_path": fault.path.partition(".")[2], "reason": " ".join(part for part in parts if part)}


def main() -> None:
    """Serve until the engine stops the process."""
    version = importlib.metadata.version(PACKAGE)
    schema = json.loads(SCHEMA.read_text()) | {"version": version}
    serve(ComponentServer(version, json.dumps(schema)), sys.argv[1:])
