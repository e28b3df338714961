"""How far a long reading is: shown once it takes longer, rarely, and never where nothing may be shown."""

from __future__ import annotations

import time
from typing import Any

import IPython
import ipywidgets
import pytest
import strongroom
from strongroom import _progress, _wire

ALLOWED = {"ok": True, "display": {"allowed": True}}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundredth of a second is long here."""
    monkeypatch.setattr(_progress, "AFTER", 0.01)
    monkeypatch.setattr(_progress, "EVERY", 0.0)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was asked of the server; it may show output."""
    found: list[str] = []

    def answer(operation: str, **_: Any) -> dict[str, Any]:
        found.append(operation)
        return ALLOWED

    monkeypatch.setattr(_wire, "asked", answer)
    return found


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What a notebook's page is shown."""
    shown: list[Any] = []

    class Shell:
        kernel = object()

    monkeypatch.setattr(IPython, "get_ipython", Shell)
    monkeypatch.setattr("IPython.display.display", shown.append)
    return shown


def test_what_is_quick_shows_and_asks_nothing(asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    progress = _progress.Progress("health/randhie", 100, shown=True)
    progress.add(100)
    progress.close(whole=True)
    with _progress.waiting("health/randhie", shown=True):
        pass
    assert (asked, capsys.readouterr().err) == ([], "")


@pytest.mark.usefixtures("quick")
def test_elsewhere_a_line_says_how_far_it_is(asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    progress = _progress.Progress("health/randhie", 200, shown=True)
    time.sleep(0.02)
    progress.add(50)
    progress.add(50)
    progress.close(whole=True)
    first, second, last = capsys.readouterr().err.lstrip("\r").split("\r")
    assert first.startswith("health/randhie: [#####               ] 25% 50 of 200 rows, ")
    assert second.startswith("health/randhie: [##########          ] 50% 100 of 200 rows, ")
    assert last.startswith("health/randhie: 100 of 200 rows, ")
    assert last.endswith(" a second\n")
    assert asked == ["budget"]


@pytest.mark.usefixtures("quick", "asked")
def test_a_page_is_shown_a_bar_with_words_beside_it(page: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    progress = _progress.Progress("health/randhie", 200, shown=True)
    time.sleep(0.02)
    progress.add(50)
    (box,) = page
    bar, words = box.children
    assert (type(bar), type(words)) == (ipywidgets.IntProgress, ipywidgets.Label)
    assert (bar.value, bar.max, bar.tooltip) == (250, 1000, "How much of health/randhie is read")
    assert words.value.startswith("health/randhie: 50 of 200 rows, ")
    progress.add(150)
    progress.close(whole=True)
    assert (bar.value, bar.bar_style, len(page)) == (1000, "success", 1)
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("quick", "asked")
def test_what_was_left_early_says_so(page: list[Any]) -> None:
    progress = _progress.Progress("health/randhie", None, shown=True)
    time.sleep(0.02)
    progress.add(50)
    progress.close(whole=False)
    bar, words = page[0].children
    assert (bar.value, bar.bar_style) == (0, "warning")
    assert words.value.startswith("health/randhie: 50 rows, ")
    assert words.value.endswith(", not to the end")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("display", [{"allowed": False}, {}, None])
def test_where_nothing_may_be_shown_nothing_is(
    display: Any, page: list[Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each try would be a notice that something was withheld."""
    monkeypatch.setattr(_wire, "asked", lambda *_, **__: {"ok": True, "display": display})
    progress = _progress.Progress("health/randhie", 200, shown=True)
    time.sleep(0.02)
    progress.add(50)
    progress.add(50)
    progress.close(whole=True)
    with _progress.waiting("health/randhie", shown=True):
        time.sleep(0.1)
    assert (page, capsys.readouterr().err) == ([], "")


@pytest.mark.usefixtures("quick", "asked")
def test_without_ipywidgets_a_notebook_gets_the_line(
    page: list[Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ipywidgets", None)
    with _progress.waiting("health/randhie", shown=True):
        time.sleep(0.2)
    assert page == []
    first, last = capsys.readouterr().err.lstrip("\r").split("\r")
    assert (first, last) == (
        "health/randhie: the vault is reading and masking",
        "health/randhie: answered after 0 seconds\n",
    )


@pytest.mark.usefixtures("quick")
def test_where_output_is_counted_it_is_a_line(
    page: list[Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    display = {"allowed": True, "cell_bytes": 65536}
    monkeypatch.setattr(_wire, "asked", lambda *_, **__: {"ok": True, "display": display})
    with _progress.waiting("health/randhie", shown=True):
        time.sleep(0.2)
    assert page == []
    assert len(capsys.readouterr().err) < 200


@pytest.mark.usefixtures("quick", "asked")
@pytest.mark.parametrize("progress", [True, False])
def test_opening_what_takes_long_says_so_unless_it_is_to_be_quiet(
    doors: Any, progress: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = doors.data.answer

    def slowly(request: dict[str, Any]) -> Any:
        time.sleep(0.2)
        return answer(request)

    doors.data.answer = slowly
    assert strongroom.open("health/randhie", progress=progress).arrow().num_rows == 3
    assert ("answered after" in capsys.readouterr().err) is progress


@pytest.mark.usefixtures("quick", "asked")
def test_a_refusal_ends_the_bar_too(doors: Any, page: list[Any]) -> None:
    def refused(_: dict[str, Any]) -> Any:
        time.sleep(0.2)
        return {"ok": False, "problem": {"title": "No", "status": 403, "detail": "x", "next": "y"}}, None

    doors.data.answer = refused
    with pytest.raises(strongroom.StrongroomError):
        strongroom.open("health/randhie")
    assert page[0].children[1].value == "health/randhie: answered after 0 seconds"
