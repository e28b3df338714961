"""Every error of both apps leaves as one problem+json object (`strongroom_hub.problems`)."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from strongroom_hub.problems import MEDIA_TYPE, Problem

log = logging.getLogger("strongroom.control")


def answer(problem: Problem) -> JSONResponse:
    return JSONResponse(problem.as_json(), problem.status, media_type=MEDIA_TYPE, headers={"Cache-Control": "no-store"})


def _on_problem(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)  # noqa: S101 - registered for this type only
    return answer(error)


def _on_invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this type only
    return answer(not_understood(error.errors()))


def not_understood(found: Sequence[Mapping[str, Any]]) -> Problem:
    """The refusal of a request that does not fit its types; `found` as pydantic tells it."""
    # Only where and what, never the value: it may be a password.
    why = tuple(f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in found)
    return Problem(
        422,
        "invalid-request",
        "The request is not understood",
        "Something in the request is missing or of the wrong kind.",
        why=why,
        next="Correct what is named above and send it again.",
    )


def _on_http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type only
    phrase = HTTPStatus(error.status_code).phrase
    slug = phrase.lower().replace(" ", "-")
    detail = "There is nothing at this address." if error.status_code == HTTPStatus.NOT_FOUND else str(error.detail)
    response = answer(Problem(error.status_code, slug, phrase, detail, next="Check the address and the method."))
    response.headers.update(error.headers or {})
    return response


def _on_crash(request: Request, error: Exception) -> JSONResponse:
    return answer(incident(f"{request.method} {request.url.path}", error))


def incident(what: str, error: Exception) -> Problem:
    """A failure that nobody foresaw: its trace goes to the log, its number to the caller."""
    number = secrets.token_hex(4)
    log.error("incident %s: %s failed", number, what, exc_info=error)
    return Problem(
        500,
        "internal-error",
        "Something went wrong in the control service",
        f"The request was not completed. Incident {number}.",
        next=f"Try again; if it stays so, give an administrator the incident number {number}.",
    )


def install(app: FastAPI) -> None:
    """Register the handlers; call once per app."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_crash)
