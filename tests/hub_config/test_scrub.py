from __future__ import annotations

import logging

import pytest
from strongroom_hub.scrub import LOGGERS, scrub_logs, scrubbed


@pytest.mark.parametrize(
    "line",
    [
        "502 GET /hub/oauth_callback?code=SECRET&state=SECRET (127.0.0.1): no answer",
        "GET /user/a/cardio/oauth_callback?x=1&state=SECRET",
        "403 POST /x?_xsrf=SECRET: refused",
        "GET /lab?access_token=SECRET referer=https://h/x?token=SECRET",
        '{"Host": "h", "X-Xsrftoken": "SECRET", "Accept": "*"}',
        "{'X-XSRFToken': 'SECRET'}",
    ],
)
def test_secrets_of_requests_are_scrubbed(line: str) -> None:
    clean = scrubbed(line)
    assert "SECRET" not in clean
    assert "[secret]" in clean


@pytest.mark.parametrize("line", ["GET /lab?reset=1", "200 GET /api/status", "the state= of things", "100% done"])
def test_other_lines_stay(line: str) -> None:
    assert scrubbed(line) == line


@pytest.mark.parametrize("name", LOGGERS)
def test_every_logger_of_tornado_is_scrubbed(name: str, caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger(name)
    before = list(logger.filters)
    try:
        scrub_logs()
        logger.warning("%d %s: %s", 502, "GET /x?code=SECRET&a=100%", "no answer")
        logger.warning("plain %s", "50%")
    finally:
        logger.filters[:] = before
    assert "SECRET" not in caplog.text
    assert "GET /x?code=[secret]&a=100%: no answer" in caplog.text
    assert "plain 50%" in caplog.text
