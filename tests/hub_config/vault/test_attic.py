"""What nobody goes on with is removed after a time, and only where control agrees."""

from __future__ import annotations

import time
from typing import Any

import polars as pl
import pytest
from strongroom_hub.problems import Problem
from strongroom_hub.vault.attic import Attic
from strongroom_hub.vault.settings import IntakeSettings

HOUR = 3600


@pytest.fixture
def attic(room: Any, people: pl.DataFrame) -> Attic:
    """A draft, a published version and an unfinished upload; the times are 10 and 2 hours."""
    room.ingest("health/draft", people)
    room.publish("health/people", people)
    with room.vault.uploads.of("health/half", 1) as upload:
        upload.write_chunk(0, b"x")
    settings = IntakeSettings(draft_hours=10, upload_hours=2)
    return Attic(room.vault.store, room.vault.uploads, room.standing, settings)


def there(room: Any) -> tuple[bool, bool, bool]:
    """The draft, the upload, the published version."""
    vault = room.instance.vault_dir
    return (
        (vault / "store" / "health" / "draft" / ".draft-1").exists(),
        (vault / "uploads" / "health+half+1").exists(),
        room.folder("health/people").exists(),
    )


def test_each_goes_after_its_time_and_what_is_published_never(attic: Attic, room: Any) -> None:
    now = time.time()
    assert attic.tick(now + HOUR) == 0
    assert room.standing.found == []
    assert (attic.tick(now + 3 * HOUR), there(room)) == (1, (True, False, True))
    assert (attic.tick(now + 11 * HOUR), there(room)) == (1, (False, False, True))
    assert [(one.dataset, one.version, one.what, one.hours) for one in room.standing.found] == [
        ("health/half", 1, "upload", 3),
        ("health/draft", 1, "draft", 11),
    ]
    assert attic.tick(now + 1000 * HOUR) == 0


def test_what_control_keeps_stays_and_while_it_is_silent_all_does(attic: Attic, room: Any) -> None:
    now = time.time() + 100 * HOUR
    room.standing.down = True
    assert (attic.tick(now), there(room)) == (0, (True, True, True))
    room.standing.down = False
    room.standing.kept = {("health/draft", "draft")}
    assert (attic.tick(now), there(room)) == (1, (True, False, True))


def test_an_upload_that_somebody_is_at_stays(attic: Attic, room: Any) -> None:
    with room.vault.uploads.of("health/half", 1):
        attic.tick(time.time() + 5 * HOUR)
    assert there(room)[1]


def test_a_draft_that_was_published_meanwhile_stays(attic: Attic, room: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def publishing(found: Any) -> Any:
        manifest = (room.instance.vault_dir / "store/health/draft/.draft-1/manifest.json").read_text()
        from strongroom_hub.vault.manifest import Manifest  # noqa: PLC0415 - for this one

        jws = room.signer.activate(Manifest.model_validate_json(manifest).model_dump())
        room.vault.store.publish("health/draft", 1, jws)
        return list(found)

    monkeypatch.setattr(room.standing, "abandoned", publishing)
    assert attic.tick(time.time() + 100 * HOUR) == 1  # the upload
    assert room.folder("health/draft").exists()
    assert room.vault.store.verify("health/draft", 1).rows == 60


def test_another_sender_finds_the_draft_gone_in_words(attic: Attic, room: Any) -> None:
    attic.tick(time.time() + 100 * HOUR)
    with pytest.raises(Problem, match="there is no draft of it"):
        room.vault.store.retire("health/draft", 1)
