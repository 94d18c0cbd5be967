"""How linkerd2-proxy reads a request (linkerd/http/route: match/header.rs, match/query_param.rs)."""

from __future__ import annotations

import re

from ...traffic.proxies import Proxy

_VISIBLE = re.compile(r"[\t -~]*")


def _visible(value: bytes) -> str | None:
    """Return the text, or None unless it is visible ASCII (`HeaderValue::to_str` of Rust's http crate)."""
    text = value.decode("latin-1")
    return text if _VISIBLE.fullmatch(text) else None


LINKERD_PROXY = Proxy("linkerd2-proxy", "linkerd2-proxy", _visible, decodes_parameters=True)
PROXIES = (((2026, 6, 0), LINKERD_PROXY),)
"""First version of Linkerd with each proxy."""
