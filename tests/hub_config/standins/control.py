"""Stands in for control at the hub's door: a few fixed people and projects, and a record of every call."""

import asyncio
import json
import os
import secrets

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from strongroom_hub.config import Instance
from strongroom_hub.problems import MEDIA_TYPE, Problem

place = Instance.load()
internal, public = FastAPI(), FastAPI()
calls = place.control_dir / "calls.jsonl"
PROJECTS = ("cardio", "crash", "stubborn")
STANDARD = {
    "name": "standard",
    "title": "Standard",
    "sandbox": "bubblewrap",
    "memory_bytes": 1 << 30,
    "cpus": 1,
    "processes": 128,
    "open_files": 1024,
    "file_bytes": 64 << 20,
    "work_bytes": 64 << 20,
    "work_files": 2000,
    "tmp_bytes": 16 << 20,
    "shm_bytes": 16 << 20,
}
LARGE = STANDARD | {"name": "large", "title": "Large", "memory_bytes": 2 << 30, "work_bytes": 256 << 20}
SEALED = STANDARD | {"name": "sealed", "title": "Sealed", "sandbox": "gvisor"}
PROFILES = {"cardio": [STANDARD, LARGE, SEALED]}


def note(what: str, body: object) -> None:
    with calls.open("a", encoding="utf-8") as file:
        file.write(json.dumps([what, body]) + "\n")


def problem(status: int, title: str) -> JSONResponse:
    told = Problem(status, "standin", title, "what happened", why=("rule R1 (policy.csv:7)",), next="what to do")
    return JSONResponse(told.as_json(), status, media_type=MEDIA_TYPE)


@internal.get("/internal/v1/status")
def status() -> dict[str, str]:
    return {"state": "ok"}


@internal.post("/internal/v1/logins")
async def login(request: Request) -> Response:
    body = await request.json()
    note("login", {"user": body["user"], "address": body["address"]})
    if (body["password"], body["otp"]) != ("right", "123456"):
        return problem(401, "Wrong user name, password or code")
    return JSONResponse({"name": body["user"], "groups": ["role:analyst"], "admin": False})


@internal.post("/internal/v1/provided-logins")
async def provided_login(request: Request) -> Response:
    body = await request.json()
    note("provided-login", body)
    if "too-much" in body["groups"]:
        return problem(422, "Too many groups")
    return JSONResponse({"roles": []})


@internal.put("/internal/v1/users/{name}/groups")
async def refresh(name: str, request: Request) -> Response:
    body = await request.json()
    note("groups", {"user": name, **body})
    if "too-much" in body["groups"]:
        return problem(422, "Too many groups")
    return JSONResponse({"groups": []})


@internal.post("/internal/v1/logouts")
async def logout(request: Request) -> Response:
    note("logout", await request.json())
    return Response(status_code=204)


@internal.get("/internal/v1/users/{name}/projects")
def projects(name: str) -> dict[str, object]:
    return {
        "console": False,
        "projects": [
            {
                "name": p,
                "title": p.title(),
                "purpose": "why",
                "label": "public",
                "until": "2027-01-01T00:00:00.000Z",
                "profiles": PROFILES.get(p, [STANDARD]),
            }
            for p in PROJECTS
        ],
    }


@internal.post("/internal/v1/servers")
async def register(request: Request) -> Response:
    body = await request.json()
    note("register", body)
    if body["project"] not in PROJECTS:
        return problem(403, "You are not a member of this project")
    allowed = PROFILES.get(body["project"], [STANDARD])
    taken = next((profile for profile in allowed if body["profile"] in {None, profile["name"]}), None)
    if taken is None:
        return problem(403, "You may not take this profile")
    server = secrets.token_hex(8)
    index = 7 + PROJECTS.index(body["project"])
    answer = {"server": server, "credential": "credential-of-" + server, "uid_index": index, "label": "public"}
    return JSONResponse(answer | {"profile": taken, "profiles": allowed})


@internal.post("/internal/v1/machine")
async def machine(request: Request) -> Response:
    note("machine", await request.json())
    return Response(status_code=204)


@internal.delete("/internal/v1/servers/{server}")
async def end(server: str, request: Request) -> Response:
    note("end", {"server": server, **(await request.json())})
    return Response(status_code=204)


@public.get("/{path:path}")
def page(path: str) -> dict[str, int]:
    return {"uid": os.getuid(), "pid": os.getpid()}


async def main() -> None:
    quiet = {"log_level": "warning", "lifespan": "off"}
    servers = [
        uvicorn.Server(uvicorn.Config(internal, uds=str(place.control_socket), **quiet)),
        uvicorn.Server(uvicorn.Config(public, host="127.0.0.1", port=place.control_port, **quiet)),
    ]
    await asyncio.gather(*(server.serve() for server in servers))


asyncio.run(main())
