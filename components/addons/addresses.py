"""Where the servers of a stack are that its parts connect to: its own add-ons, or what the user runs already. Pure.

`sections.section(PrometheusSettings).address()` is where one kind of server is; here is what may be of several kinds.
"""

from ..arguments import Sections
from .interface import Address
from .prometheus import PrometheusSettings


def prometheus(sections: Sections) -> Address | None:
    """Return where Prometheus is, None if there is none."""
    return sections.section(PrometheusSettings).address()
