from __future__ import annotations

import io
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
def test_every_logger_of_tornado_is_scrubbed(name: str) -> None:
    logger, written = logging.getLogger(name), io.StringIO()
    handler, before = logging.StreamHandler(written), list(logger.filters)
    logger.addHandler(handler)
    try:
        scrub_logs()
        logger.error("%d %s: %s", 502, "GET /x?code=SECRET&a=100%", "no answer")
        logger.error("plain %s", "50%")
    finally:
        logger.removeHandler(handler)
        logger.filters[:] = before
    assert written.getvalue() == "502 GET /x?code=[secret]&a=100%: no answer\nplain 50%\n"
