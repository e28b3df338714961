"""Logs of web servers without secrets: what stands in addresses and headers gives nobody a session.

Tornado writes the whole address of a request that failed, JupyterHub all headers of one that broke; both hide most of
what is secret in them, not all.
"""

from __future__ import annotations

import logging
import re

LOGGERS = ("tornado.access", "tornado.application", "tornado.general")
_PARAMETER = re.compile(r"([?&][\w.-]*(?:token|code|state|xsrf|key|auth|ticket)[\w.-]*=)[^&\s\"'()]+", re.IGNORECASE)
_HEADER = re.compile(r"([\"']?x-xsrftoken[\"']?\s*[:=]\s*[\"']?)[^\"'\s,}]+", re.IGNORECASE)


def scrubbed(line: str) -> str:
    """`line` without the values of secret parameters of addresses, and without XSRF tokens."""
    return _HEADER.sub(r"\1[secret]", _PARAMETER.sub(r"\1[secret]", line))


def _scrub(record: logging.LogRecord) -> bool:
    line = record.getMessage()
    clean = scrubbed(line)
    if clean != line:
        record.msg, record.args = clean, ()
    return True


def scrub_logs(*more: logging.Logger) -> None:
    """Scrub what tornado's loggers and `more` write from now on."""
    for logger in (*map(logging.getLogger, LOGGERS), *more):
        logger.addFilter(_scrub)
