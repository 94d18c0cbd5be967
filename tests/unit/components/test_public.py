import subprocess
import sys

import components


def test_every_public_name_can_be_imported() -> None:
    for name in components.__all__:
        assert getattr(components, name).__name__ == name


def test_the_routing_core_does_not_load_pulumi() -> None:
    code = "import sys; import components.traffic; sys.exit('pulumi' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
