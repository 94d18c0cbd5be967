"""One mesh with Bookinfo for all tests that send requests. A test that changes the stack leaves it as it was."""

import pytest

from devcluster.embedded import Embedded
from devcluster.stack import Stack
from tests.conftest import prepared_program


@pytest.fixture(scope="session")
def bookinfo(full: Embedded, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """The program as `make up` runs it: Istio, Bookinfo, reviews v1/v2 90/10."""
    stack = prepared_program(full, tmp_path_factory.mktemp("bookinfo"), {})
    stack.up()
    # It goes with its cluster; that a destroy leaves nothing is proved in test_make_up.py.
    return stack
