"""The real hub with a stand-in for control, and no vault: what the hub's own tests need, started in two seconds."""

import sys
from pathlib import Path

from strongroom_hub import hub, run_as
from strongroom_hub.machine.check import broken, fine
from strongroom_hub.machine.start import StartCheck

HERE = Path(__file__).parent


def services(place):
    uid = place.uids.control if place.uids else None
    return [
        {
            "name": "control",
            "url": f"http://127.0.0.1:{place.control_port}",
            "oauth_no_confirm": True,
            "command": run_as.wrap(sys.executable, uid, [sys.executable, str(HERE / "control.py")]),
            "environment": {"STRONGROOM_INSTANCE": str(place.path)},
            "cwd": "/",
        }
    ]


def look(_):
    """Where servers are stand-ins there is no box to try."""
    if (HERE / "weak").exists():
        return [broken("box: bubblewrap", "A wall is missing.", "Build the wall.")]
    return [fine("box: bubblewrap", "It holds.")]


hub._services = services
StartCheck._look = look
sys.exit(hub.main(sys.argv[1:]))
