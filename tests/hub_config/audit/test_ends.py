from __future__ import annotations

from enclave import Enclave


def test_a_cell_without_an_end_is_seen(cardio: Enclave) -> None:
    server = cardio.server()
    kernel, other = cardio.kernel(server), cardio.kernel(server)

    def begin(kernel: str) -> int:
        return int(server.begin(kernel=kernel, kind="execute", code="1")["entry"])

    def end(index: int) -> dict:
        return dict(cardio.person("auditor")("GET", f"audit/entries/{index}")["end"])

    done, running, died = begin(kernel), begin(kernel), begin(other)
    ended = server.end(done)
    server("DELETE", f"kernels/{other}", {"reason": "died"})
    assert end(done) == {"state": "ended", "entry": ended, "why": ""}
    assert end(running)["state"] == "running"
    assert end(died)["state"] == "missing"
    assert "kernel died" in end(died)["why"]
    cardio.hub_caller("DELETE", f"servers/{server.made['server']}", {"reason": "killed"})  # type: ignore[attr-defined]
    assert (end(running)["state"], "server ended" in end(running)["why"]) == ("missing", True)
    listed = cardio.person("auditor")("GET", "audit/entries", action="server:cell:begin")["entries"]
    assert {entry["index"]: entry["end"]["state"] for entry in listed} == {
        done: "ended",
        running: "missing",
        died: "missing",
    }
