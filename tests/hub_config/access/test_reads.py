from __future__ import annotations

import pytest
from desk import draft
from enclave import Enclave
from sqlalchemy import text
from strongroom_hub.boxes.rules import DENIALS, DENIALS_PER_SECOND
from strongroom_hub.database import writing
from strongroom_hub.problems import Problem


def test_a_grant_lets_read_the_granted_columns_masked(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    cardio.grant(server, columns=["person_id", "age"], masks={"person_id": "hash"})

    answer = cardio.read(server, kernel)

    claims = cardio.claims(answer["ticket"])
    assert claims["columns"] == answer["columns"] == ["person_id", "age"]
    assert claims["masks"] == {"person_id": {"method": "hash"}}
    assert answer["masked"] == {"person_id": "hash"}
    assert (claims["act"], claims["dataset"], claims["version"], claims["kernel"]) == (
        "read",
        "health/randhie",
        1,
        kernel,
    )
    assert claims["user"] == "analyst"
    assert claims["project"] == "cardio"
    assert claims["entry"] == answer["entry"]
    assert claims["exp"] - claims["iat"] == 30
    assert claims["uid"] is None
    assert claims["rows"] is None


def test_reading_raises_label_and_source_set_for_good(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    cardio.grant(server)
    assert server("GET", "session")["label"] == "public"

    answer = cardio.read(server, kernel)

    assert answer["label"] == "confidential"
    assert answer["sources"] == [{"dataset": "health/randhie", "version": 1}]
    (raised,) = cardio.entries("control:label:raise")
    assert raised["detail"] == {"from": "public", "to": "confidential", "read": answer["entry"]}
    cardio.read(server, kernel)
    assert len(cardio.entries("control:label:raise")) == 1
    # a new server of the same person and project starts where the workspace stands
    again = cardio.server()
    assert again.made["label"] == "confidential"
    assert again("GET", "session")["sources"] == [{"dataset": "health/randhie", "version": 1}]


def test_refusals_say_why_and_how_to_ask(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    with pytest.raises(Problem) as refused:
        cardio.read(server, kernel)
    assert refused.value.slug == "no-grant"
    assert refused.value.status == 403
    assert "Datasets panel" in refused.value.next
    (denied,) = cardio.entries("control:read:deny")
    assert denied["object"] == "health/randhie@1"
    assert denied["detail"]["problem"] == "no-grant"
    assert server("GET", "session")["label"] == "public"


def refused(call, *arguments, **more) -> Problem:
    with pytest.raises(Problem) as caught:
        call(*arguments, **more)
    return caught.value


def test_columns_asked_for_must_all_be_allowed(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    cardio.grant(server, columns=["age"])
    assert cardio.read(server, kernel, columns=["age"])["columns"] == ["age"]
    problem = refused(cardio.read, server, kernel, columns=["age", "visits"])
    assert problem.slug == "column-not-allowed"
    assert "visits" in problem.detail
    assert refused(cardio.read, server, kernel, columns=["nothing"]).slug == "unknown-column"
    assert refused(cardio.read, server, kernel, columns=[]).status == 422
    assert refused(cardio.read, server, kernel, columns=["age", "age"]).status == 422


def test_unknown_and_undiscoverable_datasets_get_the_same_answer(cardio: Enclave) -> None:
    cardio.dataset("surveys/fair", "secret")
    cardio.operator(
        "POST",
        "datasets",
        {"name": "health/drafted", "title": "D", "label": "public", "owner": "o", "stewards": ["steward"]},
    )
    server = cardio.server()
    kernel = cardio.kernel(server)
    answers = []
    for name in ("surveys/fair", "surveys/none", "health/drafted"):
        problem = refused(cardio.read, server, kernel, name)
        asked = refused(
            server, "POST", "access-requests", {"dataset": name, "columns": None, "purpose": "p", "days": 1}
        )
        answers.append(str((problem.as_json(), asked.as_json())).replace(name, "NAME"))
    assert len(set(answers)) == 1
    assert "unknown-dataset" in answers[0]
    assert [one["name"] for one in server("GET", "catalog")["datasets"]] == ["health/randhie"]
    # what is not known is not confirmed by the log's label either
    assert {entry["label"] for entry in cardio.entries("control:read:deny")} == {None}


def test_who_is_not_cleared_is_told_so_whatever_was_granted(cardio: Enclave) -> None:
    server = cardio.server("analyst2")  # cleared for internal only
    kernel = cardio.kernel(server)
    cardio.grant(server)
    problem = refused(cardio.read, server, kernel)
    assert problem.slug == "not-cleared"
    assert "confidential" in problem.detail


def test_expired_and_revoked_grants_are_said_as_such(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    granted = cardio.grant(server, days=2)["grant"]
    cardio.read(server, kernel)
    cardio.clock.forward(days=1, hours=23, minutes=59)
    cardio.read(server, kernel)
    cardio.clock.forward(minutes=1)
    assert refused(cardio.read, server, kernel).slug == "expired"  # before any housekeeping
    cardio.housekeeper.tick()
    assert refused(cardio.read, server, kernel).slug == "expired"
    assert [entry["detail"]["grant"] for entry in cardio.entries("control:grant:expire")] == [granted["id"]]

    again = cardio.grant(server)["grant"]
    cardio.read(server, kernel)
    cardio.person("steward")("POST", f"grants/{again['id']}/revoke", {"reason": "the study ended"})
    problem = refused(cardio.read, server, kernel)
    assert problem.slug == "revoked"
    assert "steward" in problem.detail
    assert any("the study ended" in line for line in problem.why)


def test_a_revocation_stops_the_next_display(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    grant = cardio.grant(server)["grant"]
    assert cardio.read(server, kernel)["display"]["allowed"] is True
    cardio.person("steward")("POST", f"grants/{grant['id']}/revoke", {"reason": ""})
    display = server("GET", "display")
    assert display["display"]["allowed"] is False
    assert display["label"] == "confidential"
    began = server.begin(kernel=kernel, kind="execute", code="1")
    assert began["display"]["allowed"] is False


def test_an_expiry_stops_the_next_display(cardio: Enclave) -> None:
    server = cardio.server()
    cardio.grant(server, days=1)
    cardio.read(server, cardio.kernel(server))
    cardio.clock.forward(days=1)
    assert server("GET", "display")["display"]["allowed"] is False


def test_a_new_deny_acts_at_once_on_reading_and_display(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    cardio.grant(server)
    cardio.read(server, kernel)
    cardio.add_policy("p, BAN, *, read, health/randhie, *, , , deny, stop\n")
    problem = refused(cardio.read, server, kernel)
    assert any("BAN" in line for line in problem.why)
    display = server("GET", "display")["display"]
    assert display["allowed"] is False
    assert "BAN" in display["rule"]


def test_the_policys_mask_on_a_tag_applies_to_a_grant_without_one(enclave: Enclave) -> None:
    enclave.project()
    enclave.dataset(tags={"person_id": ["direct-identifier"]})
    server = enclave.server()
    kernel = enclave.kernel(server)
    enclave.grant(server)
    assert enclave.read(server, kernel)["masked"] == {"person_id": "hash"}


def test_a_rule_on_a_tag_says_what_may_be_shown_of_all_that_was_read(enclave: Enclave) -> None:
    """Of each version by its own tags: the other dataset, and the other column, have none."""
    enclave.project()
    enclave.dataset("health/doctors", "internal", ("person_id", "age"))
    enclave.dataset(tags={"age": ["sensitive"]})
    enclave.add_policy("p2, FRAGILE, *, display, tag:sensitive, *, display, cell=1KiB, , little of it\n")
    server = enclave.server()
    kernel = enclave.kernel(server)
    for dataset in ("health/doctors", "health/randhie"):
        enclave.grant(server, dataset)
    enclave.read(server, kernel, "health/doctors")
    assert enclave.read(server, kernel, columns=["visits"])["display"]["cell_bytes"] == 64 * 1024

    answer = enclave.read(server, kernel, columns=["age"])["display"]

    assert answer["cell_bytes"] == 1024
    assert "FRAGILE" in answer["rule"]
    assert server("GET", "display")["display"] == answer


def test_public_data_needs_no_grant_and_stays_unlimited(cardio: Enclave) -> None:
    cardio.dataset("public/penguins", "public", ("species", "mass"))
    server = cardio.server()
    answer = cardio.read(server, cardio.kernel(server), "public/penguins")
    assert answer["label"] == answer["workspace_label"] == "public"
    assert answer["display"]["allowed"] is True
    assert answer["display"]["cell_bytes"] is None
    assert cardio.entries("control:label:raise") == []


def test_a_public_reading_after_a_confidential_one_does_not_lower_the_label(cardio: Enclave) -> None:
    cardio.dataset("public/penguins", "public", ("species", "mass"))
    server = cardio.server()
    kernel = cardio.kernel(server)
    cardio.grant(server)
    cardio.read(server, kernel)
    answer = cardio.read(server, kernel, "public/penguins")
    assert answer["label"] == "public"
    assert answer["workspace_label"] == server("GET", "session")["label"] == "confidential"


def test_secret_data_is_read_but_never_shown(enclave: Enclave) -> None:
    enclave.project()
    enclave.add_policy("g, user:analyst, clearance:secret\n")
    enclave.dataset("surveys/fair", "secret")
    server = enclave.server()
    kernel = enclave.kernel(server)
    enclave.grant(server, "surveys/fair")
    display = enclave.read(server, kernel, "surveys/fair")["display"]
    assert (display["cell_bytes"], display["day_bytes_left"], display["image_bytes"]) == (0, 0, 0)


def test_a_version_can_be_asked_for_and_old_sources_stay(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    cardio.grant(server)
    cardio.read(server, kernel)
    assert cardio.dataset() == 2
    assert cardio.read(server, kernel)["version"] == 2
    assert cardio.read(server, kernel, version=1)["version"] == 1
    assert server("GET", "session")["sources"] == [
        {"dataset": "health/randhie", "version": 1},
        {"dataset": "health/randhie", "version": 2},
    ]
    assert refused(cardio.read, server, kernel, version=3).slug == "unknown-dataset"


def test_a_broken_policy_at_start_denies_everything(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    cardio.grant(server)
    (cardio.instance.policy_dir / "policy.csv").write_text("rubbish\n")
    again = cardio.restarted()
    try:
        server.client = again.client
        again.read(server, kernel)  # the last good version holds
        assert again.context.policy.state()["state"] == "refused"
    finally:
        again.close()
    with writing(again.context.engine) as connection:
        connection.execute(text("UPDATE policy_version SET bundle = 'rubbish'"))
    last = again.restarted()
    try:
        server.client = last.client
        problem = refused(last.read, server, kernel)
        assert problem.status == 403
        assert last.context.policy.version == "no-policy"
        assert server("GET", "display")["display"]["allowed"] is False
    finally:
        last.close()


def test_a_kernel_reads_only_what_its_box_is_strong_enough_for(cardio: Enclave) -> None:
    cardio.add_policy('p2, X1, *, read, health/randhie#age, *, sandbox, gvisor, , "the steward asked for it"\n')
    assert cardio.context.policy.state()["state"] == "in-force", cardio.context.policy.state()
    server = cardio.server()
    cardio.grant(server)
    kernel = cardio.kernel(server, "bubblewrap")
    for columns in (None, ["age"], ["age", "visits"]):
        problem = refused(cardio.read, server, kernel, columns=columns)
        assert (problem.status, problem.slug) == (403, "weaker-box")
        assert "gvisor" in problem.detail
        assert "X1 (policy.csv:" in problem.why[0]
        assert "sealed" in problem.next
    assert "visits" in problem.next
    assert cardio.entries("control:read:deny")[-1]["detail"]["problem"] == "weaker-box"
    assert server("GET", "session")["label"] == "public"
    # what asks for nothing more than the default is read as before, and a strong box reads all of it
    assert cardio.read(server, kernel, columns=["visits"])["columns"] == ["visits"]
    strong = cardio.kernel(server, "gvisor")
    assert "age" in cardio.read(server, strong)["columns"]


@pytest.mark.parametrize(
    ("duty", "says"),
    [
        ("dp-budget, epsilon=1.0 days=90", "does not answer differentially private queries yet"),
    ],
)
def test_what_is_owed_and_cannot_be_carried_out_is_never_ignored(cardio: Enclave, duty: str, says: str) -> None:
    cardio.add_policy(f"p2, X1, *, read, health/randhie#age, *, {duty}, , why\n")
    assert cardio.context.policy.state()["state"] == "in-force", cardio.context.policy.state()
    server = cardio.server()
    cardio.grant(server)
    kernel = cardio.kernel(server)
    for columns in (None, ["age"], ["visits", "age"]):
        problem = refused(cardio.read, server, kernel, columns=columns)
        assert (problem.status, problem.slug) == (403, "not-carried-out")
        assert "X1 (policy.csv:" in problem.why[0]
        assert says in problem.why[0]
    assert cardio.entries("control:read:deny")[-1]["detail"]["problem"] == "not-carried-out"
    assert server("GET", "session")["label"] == "public"
    assert cardio.read(server, kernel, columns=["visits"])["columns"] == ["visits"]


def test_a_kernel_that_does_not_say_what_holds_it_is_the_weakest(cardio: Enclave) -> None:
    server = cardio.server()
    cardio.grant(server)
    server("POST", "kernels", {"kernel": "silent", "notebook": None})
    assert refused(cardio.read, server, "silent").slug == "weaker-box"
    assert refused(server, "POST", "kernels", {"kernel": "odd", "tier": "castle"}).status == 422


def test_where_no_profile_is_strong_enough_the_refusal_says_so(cardio: Enclave) -> None:
    cardio.add_policy("p2, X1, *, read, health/randhie, *, sandbox, gvisor, , strict\n")
    cardio.edit_policy("p, U3, role:analyst", "p, U3, role:admin")
    server = cardio.server()
    cardio.grant(server)
    problem = refused(cardio.read, server, cardio.kernel(server))
    assert "ask an administrator" in problem.next
    assert "sealed" not in problem.next


def test_refused_reads_cannot_flood_the_log(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    slugs = [refused(cardio.read, server, kernel).slug for _ in range(200)]
    assert slugs == ["no-grant"] * DENIALS + ["too-many-refused-reads"] * (200 - DENIALS)
    assert len(cardio.entries("control:read:deny")) == DENIALS
    cardio.housekeeper.tick()
    (entry,) = cardio.entries("server:kernel:violation")
    assert entry["detail"]["kind"] == "rate"
    assert entry["detail"]["counts"] == {"read": 200 - DENIALS}
    assert (entry["actor"], entry["kernel"]) == ("user:analyst", kernel)
    # one more entry each ten seconds at most, whatever comes in between
    for _ in range(20):
        for _ in range(30):
            refused(cardio.read, server, kernel)
        cardio.clock.forward(seconds=1)
        cardio.housekeeper.tick()
    told = [one["detail"]["counts"]["read"] for one in cardio.entries("server:kernel:violation")]
    assert len(told) == 3
    denied = len(cardio.entries("control:read:deny"))
    assert denied <= DENIALS + 20 * DENIALS_PER_SECOND
    assert sum(told) + denied == 200 + 600


def test_allowed_reads_are_not_counted_as_flooding(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    cardio.grant(server)
    for _ in range(2 * DENIALS):
        cardio.read(server, kernel)
    # another workspace is not held up by this one's flood
    for _ in range(2 * DENIALS):
        refused(cardio.read, server, kernel, "health/none")
    assert refused(cardio.read, server, kernel).slug == "too-many-refused-reads"
    other = cardio.server("analyst2")
    assert refused(cardio.read, other, cardio.kernel(other)).slug == "not-cleared"


STAYS = {"person": "String", "site": "String", "admitted": "Date", "age": "Int64"}


def stays(enclave: Enclave, **tags: list[str]) -> None:
    enclave.dataset("health/stays", columns=tuple(STAYS), types=STAYS, tags=tags)


def test_a_row_filter_travels_in_the_ticket_bound_to_project_and_day(cardio: Enclave) -> None:
    stays(cardio)
    cardio.add_policy(
        "p2, X1, *, read, health/stays#age, *, rows, admitted < today(), , why\n"
        "p2, X2, *, read, health/stays, *, rows, site = user.project, , why\n"
    )
    server = cardio.server()
    kernel = cardio.kernel(server)
    cardio.grant(server, "health/stays")
    answer = cardio.read(server, kernel, "health/stays", columns=["age"])
    claims = cardio.claims(answer["ticket"])
    day = cardio.clock().date().isoformat()
    assert claims["rows"] == [f"admitted < {day}", "site = 'cardio'"]
    assert answer["filtered"] is True
    (entry,) = cardio.entries("control:read:allow")
    assert entry["detail"]["filters"] == claims["rows"]
    # what was read by one filter and by another is in the source set by both
    other = cardio.read(server, kernel, "health/stays", columns=["person"])
    assert cardio.claims(other["ticket"])["rows"] == ["site = 'cardio'"]
    (source,) = cardio.claims(draft(server)["tickets"][0])["sources"]
    assert source["rows"] == [f"admitted < {day} and site = 'cardio' or site = 'cardio'"]


def test_a_filter_that_does_not_fit_the_dataset_lets_nothing_be_read(cardio: Enclave) -> None:
    cardio.add_policy("p2, X1, *, read, health/randhie#age, *, rows, vists < 3, , why\n")
    server = cardio.server()
    cardio.grant(server)
    problem = refused(cardio.read, server, cardio.kernel(server), columns=["age"])
    assert problem.slug == "filter-does-not-fit"
    assert any("vists" in line for line in problem.why)
    assert [entry["detail"]["problem"] for entry in cardio.entries("control:read:deny")] == ["filter-does-not-fit"]


def test_masks_travel_with_their_parameters(cardio: Enclave) -> None:
    stays(cardio, person=["subject"])
    cardio.add_policy("p2, X1, *, read, health/stays#admitted, *, mask, shift-date, , why\n")
    server = cardio.server()
    kernel = cardio.kernel(server)
    masks = {"site": "prefix(2)", "age": "generalise(width=10)"}
    granted = cardio.grant(server, "health/stays", columns=list(STAYS), masks=masks)["grant"]
    answer = cardio.read(server, kernel, "health/stays", columns=["admitted", "site", "age"])
    assert answer["masked"] == {"admitted": "shift-date", **masks}
    assert cardio.claims(answer["ticket"])["masks"] == {
        "site": {"method": "prefix", "characters": 2},
        "age": {"method": "generalise", "width": "10"},
        "admitted": {"method": "shift-date", "subject": "person"},
    }
    (source,) = cardio.claims(draft(server)["tickets"][0])["sources"]
    assert source["masks"] == cardio.claims(answer["ticket"])["masks"]
    # what was seen once in clear is known
    cardio.person("steward")("POST", f"grants/{granted['id']}/revoke", {"reason": "r"})
    cardio.grant(server, "health/stays", masks={"site": "prefix(2)"})
    cardio.read(server, kernel, "health/stays", columns=["site", "age"])
    (source,) = cardio.claims(draft(server)["tickets"][0])["sources"]
    assert source["masks"] == {
        "site": {"method": "prefix", "characters": 2},
        "admitted": {"method": "shift-date", "subject": "person"},
    }


def test_dates_are_shifted_only_where_one_column_says_whom_a_row_is_about(cardio: Enclave) -> None:
    stays(cardio)
    cardio.add_policy("p2, X1, *, read, health/stays#admitted, *, mask, shift-date, , why\n")
    server = cardio.server()
    cardio.grant(server, "health/stays")
    problem = refused(cardio.read, server, cardio.kernel(server), "health/stays")
    assert problem.slug == "no-subject"


def test_a_mask_that_does_not_fit_its_column_lets_nothing_be_read(cardio: Enclave) -> None:
    cardio.add_policy("p2, X1, *, read, health/randhie#age, *, mask, prefix(2), , why\n")
    server = cardio.server()
    cardio.grant(server)
    kernel = cardio.kernel(server)
    problem = refused(cardio.read, server, kernel, columns=["age"])
    assert problem.slug == "mask-does-not-fit"
    assert cardio.read(server, kernel, columns=["person_id"])["columns"] == ["person_id"]
