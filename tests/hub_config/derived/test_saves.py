"""Tables that projects save: they inherit label and sources, and whoever may not read those never reads them."""

from __future__ import annotations

import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from strongroom_hub.audit.writer import Tx
from strongroom_hub.boxes.rules import SAVES
from strongroom_hub.catalog.models import DatasetVersion, VersionState
from strongroom_hub.derived import rules
from strongroom_hub.problems import Problem

from tests.hub_config.enclave import Caller, Enclave

SHA = "a" * 64
COLUMNS = ("person_id", "age", "visits")


@pytest.fixture
def world(enclave: Enclave) -> Enclave:
    """Confidential and internal data; `analyst` may read both, `analyst2` is a member without a grant."""
    enclave.project("cardio")
    enclave.project("elections")
    enclave.dataset(
        "health/randhie", "confidential", COLUMNS, {"person_id": ["direct-identifier"], "age": ["sensitive"]}
    )
    enclave.dataset("travel/flights", "internal", ("delay",))
    return enclave


def begin(server: Caller, kernel: str, dataset: str = "cardio/cohort1", **more: Any) -> Any:
    body = {"kernel": kernel, "cell": 0, "dataset": dataset, "quiet": False, "sha256": SHA, "bytes": 100, **more}
    return server("POST", "saves", body)


def taken(made: Any, columns: tuple[str, ...] = ("age", "mean"), **changed: Any) -> dict[str, Any]:
    """The vault's account of what it took in."""
    return {
        "format": "strongroom-manifest/2",
        "kind": "table",
        "dataset": made["dataset"],
        "version": made["version"],
        "label": made["label"],
        "rows": 7,
        "columns": [{"name": name, "type": "Int64"} for name in columns],
        "parts": [],
        **changed,
    }


class Desk:
    """One person at work in a project."""

    def __init__(self, enclave: Enclave, user: str = "analyst", project: str = "cardio") -> None:
        self.enclave = enclave
        self.server = enclave.server(user, project)
        self.kernel = enclave.kernel(self.server)

    def read(self, dataset: str = "health/randhie", **more: Any) -> Any:
        return self.enclave.read(self.server, self.kernel, dataset, **more)

    def save(self, dataset: str = "cardio/cohort1", **more: Any) -> Any:
        made = begin(self.server, self.kernel, dataset, **more)
        self.finish(made)
        return made

    def finish(self, made: Any, columns: tuple[str, ...] = ("age", "mean"), **changed: Any) -> None:
        manifest = taken(made, columns, **changed)
        receipt = self.enclave.vault.taken_in(made["dataset"], made["version"], manifest, None)
        self.server("POST", f"saves/{made['dataset']}/{made['version']}/finish", {"receipt": receipt})

    def catalogue(self) -> dict[str, Any]:
        return {one["name"]: one for one in self.server("GET", "catalog")["datasets"]}


@pytest.fixture
def analyst(world: Enclave) -> Desk:
    """Has read randhie under a grant."""
    desk = Desk(world)
    world.grant(desk.server)
    desk.read()
    return desk


@pytest.fixture
def colleague(world: Enclave) -> Desk:
    """Cleared for confidential, without a grant."""
    world.edit_policy("g, user:analyst2, clearance:internal", "g, user:analyst2, clearance:confidential")
    return Desk(world, "analyst2")


def refusal(call: Any) -> Problem:
    with pytest.raises(Problem) as caught:
        call()
    return caught.value


def test_a_saved_table_inherits_label_sources_and_stewards(world: Enclave, analyst: Desk) -> None:
    made = begin(analyst.server, analyst.kernel, title="Cohort", description="Means.", columns={"mean": "A mean."})
    assert (made["dataset"], made["version"], made["label"]) == ("cardio/cohort1", 1, "confidential")
    assert made["sources"] == ["health/randhie@1"]
    claims = world.claims(made["ticket"])
    assert (claims["act"], claims["dataset"], claims["version"], claims["label"]) == (
        "ingest",
        "cardio/cohort1",
        1,
        "confidential",
    )
    analyst.finish(made)
    found = analyst.catalogue()["cardio/cohort1"]
    assert (found["title"], found["owner"], found["stewards"]) == ("Cohort", "analyst", ["steward"])
    assert found["sources"] == ["health/randhie@1"]
    assert found["derived"] == {"project": "cardio", "user": "analyst", "quiet": False, "entry": made["entry"]}
    assert found["access"]["columns"] == ["age", "mean"]
    assert [(one["name"], one["description"]) for one in found["columns"]] == [("age", ""), ("mean", "A mean.")]
    assert analyst.catalogue()["health/randhie"]["used_by"] == ["cardio/cohort1@1"]
    [entry] = world.entries("control:dataset:save")
    assert entry["actor"] == "user:analyst"
    assert (entry["object"], entry["label"], entry["sources"]) == (
        "cardio/cohort1@1",
        "confidential",
        ["health/randhie@1"],
    )
    assert (entry["detail"]["sha256"], entry["detail"]["bytes"]) == (SHA, 100)
    published = [entry["actor"] for entry in world.entries("control:dataset:publish")][-2:]
    assert published == ["user:analyst", "user:analyst"]


def test_what_was_saved_is_read_and_knows_its_sources(analyst: Desk) -> None:
    analyst.save()
    assert analyst.save()["version"] == 2
    got = analyst.read("cardio/cohort1")
    assert (got["version"], got["label"], got["columns"]) == (2, "confidential", ["age", "mean"])
    assert {source["dataset"] for source in got["sources"]} == {"health/randhie", "cardio/cohort1"}
    assert analyst.read("cardio/cohort1", version=1)["version"] == 1


def test_tags_are_inherited_by_columns_that_were_read_in_clear(analyst: Desk) -> None:
    """person_id was read as a pseudonym, which is no name any more; age was read as it is."""
    analyst.finish(begin(analyst.server, analyst.kernel), ("person_id", "age", "mean"))
    columns = {one["name"]: one["tags"] for one in analyst.catalogue()["cardio/cohort1"]["columns"]}
    assert columns == {"person_id": [], "age": ["sensitive"], "mean": []}


def test_members_read_it_with_grants_on_all_sources_and_not_without(
    world: Enclave, analyst: Desk, colleague: Desk
) -> None:
    analyst.save()
    assert "cardio/cohort1" not in colleague.catalogue()
    assert refusal(lambda: colleague.read("cardio/cohort1")).slug == "unknown-dataset"
    world.grant(colleague.server)
    assert colleague.catalogue()["cardio/cohort1"]["access"]["read"]
    got = colleague.read("cardio/cohort1")
    assert {source["dataset"] for source in got["sources"]} == {"health/randhie", "cardio/cohort1"}
    assert got["workspace_label"] == "confidential"


def test_a_grant_for_fewer_columns_of_the_source_is_not_enough(world: Enclave, analyst: Desk, colleague: Desk) -> None:
    analyst.save()
    world.grant(colleague.server, columns=["person_id", "age"])
    assert refusal(lambda: colleague.read("cardio/cohort1")).slug == "unknown-dataset"


def test_a_stricter_mask_on_a_source_is_not_enough(world: Enclave, analyst: Desk, colleague: Desk) -> None:
    analyst.save()
    world.grant(colleague.server, masks={"age": "redact"})
    assert refusal(lambda: colleague.read("cardio/cohort1")).slug == "unknown-dataset"


def test_the_same_mask_or_none_is_enough(world: Enclave, analyst: Desk, colleague: Desk) -> None:
    assert rules.mask_covers("hash", "hash")
    assert rules.mask_covers("hash", "null")
    assert not rules.mask_covers("hash", None)
    assert not rules.mask_covers("redact", "hash")
    analyst.save()  # person_id was hashed for both, by the same rule
    world.grant(colleague.server)
    assert colleague.read("cardio/cohort1")["columns"] == ["age", "mean"]


def test_revoking_the_source_ends_reading_display_and_saving(world: Enclave, analyst: Desk) -> None:
    analyst.save()
    analyst.read("cardio/cohort1")
    [grant] = world.person("steward")("GET", "grants")["grants"]
    world.person("steward")("POST", f"grants/{grant['id']}/revoke", {"reason": "over"})
    problem = refusal(lambda: analyst.read("cardio/cohort1"))
    assert problem.slug == "source-not-readable"
    assert "health/randhie@1" in problem.detail
    assert analyst.server("GET", "display")["display"]["allowed"] is False
    assert refusal(lambda: begin(analyst.server, analyst.kernel)).slug == "source-not-readable"


def test_displaying_a_derived_dataset_stops_with_the_readers_own_grant(
    world: Enclave, analyst: Desk, colleague: Desk
) -> None:
    analyst.save()
    granted = world.grant(colleague.server)["grant"]
    colleague.read("cardio/cohort1")
    assert colleague.server("GET", "display")["display"]["allowed"] is True
    world.person("steward")("POST", f"grants/{granted['id']}/revoke", {"reason": "over"})
    assert colleague.server("GET", "display")["display"]["allowed"] is False


def test_a_label_is_not_laundered_through_another_project_even_by_its_author(world: Enclave, analyst: Desk) -> None:
    analyst.save()
    world.add_policy('\np, X1, role:analyst, discover|read, cardio/**, *, , , allow, "too wide"\n')
    other = Desk(world, "analyst", "elections")
    assert "cardio/cohort1" not in other.catalogue()
    world.grant(other.server)
    assert refusal(lambda: other.read("cardio/cohort1")).slug == "source-not-readable"
    assert other.server("GET", "display")["label"] == "public"
    assert "cardio/cohort1" not in other.catalogue()


def test_saving_below_the_own_label_is_impossible(world: Enclave, analyst: Desk) -> None:
    """Neither the request nor the manifest has a say in the label."""
    body = {"kernel": analyst.kernel, "dataset": "cardio/low", "quiet": False, "sha256": SHA, "bytes": 1}
    made = analyst.server("POST", "saves", {**body, "label": "public", "sources": []})
    assert made["label"] == "confidential"
    assert made["sources"] == ["health/randhie@1"]
    assert "label 'public'" in refusal(lambda: analyst.finish(made, label="public")).why[0]
    analyst.finish(made)
    assert analyst.catalogue()["cardio/low"]["label"] == "confidential"


@pytest.mark.parametrize(
    "name",
    ["elections/x", "health/randhie", "cardio", "cardio/", "Cardio/x", "cardio/../x", "cardio/x/y", "cardio/x@1"],
)
def test_only_names_of_the_own_project_are_saved(world: Enclave, analyst: Desk, name: str) -> None:
    before = len(world.entries("control:dataset:refuse-save"))
    assert refusal(lambda: begin(analyst.server, analyst.kernel, name)).slug == "not-your-name"
    [entry] = world.entries("control:dataset:refuse-save")[before:]
    assert entry["detail"]["problem"] == "not-your-name"


def test_raw_data_is_never_overwritten(world: Enclave, analyst: Desk) -> None:
    world.dataset("cardio/raw", "public", ("a",))
    assert refusal(lambda: begin(analyst.server, analyst.kernel, "cardio/raw")).slug == "name-taken"
    analyst.save()
    assert "saved by a project" in refusal(lambda: world.dataset("cardio/cohort1", "public", ("a",))).why[0]


def test_the_policy_decides_who_may_save(world: Enclave, analyst: Desk) -> None:
    world.edit_policy("p, W1, role:analyst, save, *,", "p, W1, role:analyst, save, label:public,")
    problem = refusal(lambda: begin(analyst.server, analyst.kernel))
    assert problem.slug == "not-permitted"
    assert problem.why


def test_another_workspace_cannot_finish_or_forge_a_save(world: Enclave, analyst: Desk, colleague: Desk) -> None:
    made = begin(analyst.server, analyst.kernel)
    for call in (
        lambda: colleague.finish(made),
        lambda: analyst.finish({**made, "version": 2}),
        lambda: analyst.finish({**made, "dataset": "health/randhie"}),
    ):
        assert refusal(call).slug == "unknown-save"
    analyst.finish(made)
    assert refusal(lambda: analyst.finish(made)).slug == "wrong-state"


def test_a_notebook_server_s_own_word_for_what_was_saved_is_not_taken(world: Enclave, analyst: Desk) -> None:
    made = begin(analyst.server, analyst.kernel)
    path, manifest = f"saves/{made['dataset']}/{made['version']}", taken(made)
    key = Ed25519PrivateKey.generate()
    claims = {"iss": "strongroom:vault", "aud": "strongroom:control", "act": "taken-in", "report": None}
    claims |= {"dataset": made["dataset"], "version": made["version"], "manifest": manifest}
    of_another = world.vault.taken_in("cardio/cohort1", 2, {**manifest, "version": 2}, None)
    for receipt in (json.dumps(manifest), jwt.encode(claims, key, algorithm="EdDSA"), of_another):
        assert refusal(lambda: analyst.server("POST", f"{path}/finish", {"receipt": receipt})).slug == "bad-receipt"  # noqa: B023
    assert refusal(lambda: analyst.server("POST", f"{path}/finish", {"manifest": manifest})).status == 422
    for gone in ("sign", "activate"):
        assert refusal(lambda: analyst.server("POST", f"{path}/{gone}", {"manifest": manifest})).status == 404  # noqa: B023
    assert (world.vault.published.get(("cardio/cohort1", 1)), "cardio/cohort1" in analyst.catalogue()) == (None, False)


def test_a_kernel_that_is_not_its_own_saves_nothing(world: Enclave, analyst: Desk, colleague: Desk) -> None:
    assert refusal(lambda: begin(analyst.server, colleague.kernel)).slug == "unknown-kernel"


def test_size_rate_and_number_are_bounded(world: Enclave, analyst: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(lambda: begin(analyst.server, analyst.kernel, bytes=rules.MAX_BYTES + 1)).slug == "too-large"
    for _ in range(SAVES - 1):
        begin(analyst.server, analyst.kernel)
    assert refusal(lambda: begin(analyst.server, analyst.kernel)).slug == "too-many-saves"
    world.clock.forward(seconds=61)
    begin(analyst.server, analyst.kernel)
    monkeypatch.setattr(rules, "MAX_VERSIONS", SAVES)
    world.clock.forward(seconds=61)
    assert refusal(lambda: begin(analyst.server, analyst.kernel)).slug == "too-many-versions"


def test_a_second_generation_is_decided_by_the_first_ones_sources(
    world: Enclave, analyst: Desk, colleague: Desk
) -> None:
    """cohort1 from randhie; cohort2 by a colleague who read cohort1 alone; randhie still decides on cohort2."""
    analyst.save()
    granted = world.grant(colleague.server)["grant"]
    colleague.read("cardio/cohort1")
    made = colleague.save("cardio/cohort2")
    assert made["sources"] == ["cardio/cohort1@1", "health/randhie@1"]
    assert analyst.catalogue()["cardio/cohort1"]["used_by"] == ["cardio/cohort2@1"]
    world.person("steward")("POST", f"grants/{granted['id']}/revoke", {"reason": "over"})
    assert refusal(lambda: colleague.read("cardio/cohort2")).slug == "source-not-readable"
    assert analyst.read("cardio/cohort2")["version"] == 1


def test_what_owes_a_stronger_box_owes_it_for_what_was_made_from_it(world: Enclave, analyst: Desk) -> None:
    analyst.save()
    world.add_policy('\np2, X1, *, read, health/randhie, *, sandbox, gvisor, , "strict"\n')
    assert refusal(lambda: analyst.read("cardio/cohort1")).slug == "weaker-box"
    world.edit_policy(
        "X1, *, read, health/randhie, *, sandbox, gvisor",
        "X1, *, read, health/randhie, *, dp-budget, epsilon=1.0 days=90",
    )
    assert refusal(lambda: analyst.read("cardio/cohort1")).slug == "not-carried-out"


def test_a_source_that_is_relabelled_or_retired_takes_along_what_was_made_from_it(
    world: Enclave, analyst: Desk
) -> None:
    def change(**fields: Any) -> None:
        def work(tx: Tx) -> None:
            version = tx.session.get(DatasetVersion, ("health/randhie", 1))
            assert version is not None
            for name, value in fields.items():
                setattr(version, name, value)
            tx.session.add(version)

        world.writer.transact(work)

    analyst.save()
    world.edit_policy("g, user:analyst , clearance:confidential", "g, user:analyst , clearance:secret")
    change(label="secret")
    assert refusal(lambda: analyst.read("cardio/cohort1")).slug == "source-relabelled"
    assert begin(analyst.server, analyst.kernel, "cardio/again")["label"] == "secret"
    change(state=VersionState.RETIRED)
    assert refusal(lambda: analyst.read("cardio/cohort1")).slug == "source-retired"


def test_access_to_it_is_asked_for_at_its_sources(analyst: Desk) -> None:
    analyst.save()
    body = {"dataset": "cardio/cohort1", "columns": None, "purpose": "x", "days": 1}
    problem = refusal(lambda: analyst.server("POST", "access-requests", body))
    assert problem.slug == "derived-dataset"
    assert problem.why == ("it was made from: health/randhie",)


def test_in_the_console_only_who_decides_on_it_sees_it(world: Enclave, analyst: Desk) -> None:
    analyst.save()
    seen = {
        user: {one["name"]: one for one in world.person(user)("GET", "datasets")["datasets"]}
        for user in ("steward", "analyst", "analyst2")
    }
    assert seen["steward"]["cardio/cohort1"]["derived"]["project"] == "cardio"
    assert seen["steward"]["health/randhie"]["used_by"] == ["cardio/cohort1@1"]
    assert "cardio/cohort1" not in seen["analyst"]
    assert "cardio/cohort1" not in seen["analyst2"]


def test_an_export_of_what_was_made_from_it_is_reviewed_by_the_sources_stewards(
    world: Enclave, analyst: Desk, colleague: Desk
) -> None:
    analyst.save()
    world.grant(colleague.server)
    colleague.read("cardio/cohort1")
    body = {"justification": "x", "files": [{"name": "t.csv", "bytes": 1, "sha256": SHA}], "cells": []}
    export = colleague.server("POST", "exports", body)
    assert {source["dataset"] for source in export["sources"]} == {"health/randhie", "cardio/cohort1"}


def test_saves_survive_a_restart(world: Enclave, analyst: Desk) -> None:
    analyst.save()
    again = world.restarted()
    try:
        assert Desk(again).read("cardio/cohort1")["label"] == "confidential"
    finally:
        again.close()


def test_rows_that_were_seen_cover_what_is_due_only_under_the_same_filters() -> None:
    assert rules.rows_cover(["a = 1"], ["a = 1", "b = 2"])
    assert not rules.rows_cover(["a = 1"], ["b = 2"])
    assert not rules.rows_cover(["a = 1"], None)
