"""`openr1 hw-profile`"""

from __future__ import annotations

from openr1.cli.common import Debug, Json, Profile, Simulate, guarded

EXAMPLES = """Examples:

\b
  openr1 hw-profile                              this machine: findings, each with its reason
  openr1 hw-profile --simulate "RTX 3060"        a machine one does not have
  openr1 hw-profile --json
"""


@guarded
def command(
    profile: Profile = None, simulate: Simulate = None, json: Json = False, debug: Debug = False
) -> None:
    """What this machine is, and which defaults it gets."""
    from openr1.cli.hardware_view import show
    from openr1.services.hw_profile import hw_profile

    show(hw_profile(simulate=simulate, profile=profile), json=json)
