"""Hypothesis profiles of the routing tests: `dev` (default), `ci` and `nightly`, chosen by HYPOTHESIS_PROFILE.

CI takes the same examples every time, so that a change is judged by what it changed; `nightly` looks for new ones.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

for _name, _examples in (("dev", 30), ("ci", 500), ("nightly", 10_000)):
    settings.register_profile(
        _name,
        max_examples=_examples,
        deadline=None,
        derandomize=_name == "ci",
        suppress_health_check=[HealthCheck.too_slow],
    )
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))
