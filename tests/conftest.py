"""What all tests share: properties are judged by what they find, not by how fast a busy or fresh machine draws."""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings

# The first draw of text in a fresh checkout builds tables of all of Unicode, which takes a second or more.
settings.register_profile("strongroom", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("strongroom")

# A shell starts what runs in the background with Ctrl-C ignored, and what tests start would inherit it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
