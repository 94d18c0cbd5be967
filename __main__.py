"""The Pulumi program: `pulumi up` runs it. Configuration -> settings -> plan -> components -> outputs (stacks/)."""

import sys

import pulumi

from components.diagnostics import ConfigurationError
from stacks.program import run

ALREADY_REPORTED = 32
"""Tells Pulumi's language host that the user has read the reason (pulumi-language-python-exec): it adds nothing."""

try:
    run()
except ConfigurationError as error:
    pulumi.log.error(str(error))
    sys.exit(ALREADY_REPORTED)
