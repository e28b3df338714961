"""The real hub with a stand-in for control, and no vault: what the hub's own tests need, started in two seconds."""

import sys
from pathlib import Path

from strongroom_hub import hub, run_as

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


hub._services = services
sys.exit(hub.main(sys.argv[1:]))
