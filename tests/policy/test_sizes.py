from __future__ import annotations

import pytest
from strongroom_policy.sizes import size


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1 << 16, "64 KiB"),
        (1536, "1.5 KiB"),
        (1 << 21, "2 MiB"),
        (2_026_138, "1.9 MiB"),
    ],
)
def test_sizes_are_as_people_read_them(amount, text):
    assert size(amount) == text
