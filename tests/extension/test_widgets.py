"""Widgets: real ones of every kind above public, and hostile ones."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from strongroom_lab import widgets
from strongroom_lab.canon import Message
from strongroom_lab.values import Unfit
from strongroom_lab.widgets import BASE, CONTROLS, OUTPUT, Comm

from tests.extension.conftest import Lab, of_type, text_of

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 100
VIEW = "application/vnd.jupyter.widget-view+json"


def update(state: dict[str, Any], model: tuple[str, str], **more: Any) -> dict[str, Any]:
    """The state of `model` that is shown of `state`. Raises Unfit."""
    data = {"method": "update", "state": state, **more.pop("data", {})}
    message = Message("iopub", "comm_msg", {"comm_id": "c", "data": data}, **more)
    found = widgets.reduced(message, {"c": Comm("jupyter.widget", model)}, 1000)
    assert set(found.message.content["data"]) <= {"method", "state", "buffer_paths", "content"}
    shown: dict[str, Any] = found.message.content["data"]["state"]
    return shown


@pytest.mark.parametrize(
    ("model", "state"),
    [
        ("TextModel", {"value": "<b>", "_view_name": "HTMLView"}),
        ("TextModel", {"_model_name": "HTMLModel"}),
        ("TextModel", {"_view_module": "evil"}),
        ("LabelModel", {"description_allow_html": True}),
        ("HTMLModel", {"value": '<a href="http://e/?d">x</a><meta http-equiv=refresh content="0;http://e">'}),
        ("HTMLMathModel", {"value": r"$\href{http://e/?d}{x}$"}),
        ("LabelModel", {"value": r"$\href{http://e/?d}{x}$"}),
        ("ButtonModel", {"icon": 'x" onclick="y'}),
        ("ButtonModel", {"_dom_classes": ["jp-Dialog"]}),
        ("ColorPickerModel", {"value": "url(http://e/)"}),
        ("ButtonStyleModel", {"button_color": "url(http://e/)"}),
        ("IntSliderModel", {"value": "http://e/", "more": "http://e/"}),
        ("DatePickerModel", {"value": {"year": "http://e/"}}),
        ("BoxModel", {"children": ["http://e/"]}),
        ("DropdownModel", {"_options_labels": [{"x": "http://e/"}]}),
        ("LinkModel", {"source": ["IPY_MODEL_a", "http://e/"]}),
        ("ImageModel", {"format": "svg+xml"}),
    ],
)
def test_state_does_nothing(model: str, state: dict[str, Any]) -> None:
    shown = update(state, (CONTROLS, model))
    assert shown.get("description_allow_html", False) is False
    text = json.dumps(shown)
    for active in ("href=", "\\\\href", "url(", "meta", "HTMLView", "HTMLModel", "evil", "onclick", "jp-", "svg"):
        assert active not in text
    if not model.endswith(("HTMLModel", "HTMLMathModel", "LabelModel")):
        assert "http" not in text


@pytest.mark.parametrize("key", ["width", "border_left", "grid_template_columns"])
def test_a_layout_does_not_fetch(key: str) -> None:
    model = (BASE, "LayoutModel")
    assert update({key: "1fr 2fr"}, model) == {key: "1fr 2fr"}
    for value in ("url(http://e/)", "1px; background: url(x)", "var(--x)", {"a": 1}):
        assert update({key: value}, model) == {}


@pytest.mark.parametrize(
    "model", [("evil", "X"), (CONTROLS, "VideoModel"), (CONTROLS, "ControllerModel"), ("anywidget", "AnyModel"), None]
)
def test_unknown_models_are_refused(model: tuple[str, str] | None) -> None:
    with pytest.raises(Unfit):
        update({"value": 1}, model)  # type: ignore[arg-type]  # a comm without a model is the point


def test_custom_messages_are_two() -> None:
    comms = {"c": Comm("jupyter.widget", (CONTROLS, "TextModel"))}
    for content, fits in (({"do": "focus", "x": "y"}, True), ({"do": "open", "url": "http://e"}, False), ("x", False)):
        message = Message("iopub", "comm_msg", {"comm_id": "c", "data": {"method": "custom", "content": content}})
        if fits:
            assert widgets.reduced(message, comms, None).message.content["data"]["content"] == {"do": "focus"}
        else:
            with pytest.raises(Unfit):
                widgets.reduced(message, comms, None)


@pytest.mark.parametrize(
    ("model", "buffers", "paths", "kept"),
    [
        ("ImageModel", (PNG,), [["value"]], 1),
        ("ImageModel", (PNG, b"x"), [["value"], ["other"]], 1),
        ("ImageModel", (b"<svg>",), [["value"]], 0),
        ("ImageModel", (PNG * 10,), [["value"]], 0),
        ("ImageModel", (PNG,), [["layout"]], 0),
        ("ImageModel", (), [["value"]], 0),
        ("TextModel", (PNG,), [["value"]], 0),
    ],
)
def test_buffers_are_pictures(model: str, buffers: tuple[bytes, ...], paths: list[Any], kept: int) -> None:
    data = {"method": "update", "state": {}, "buffer_paths": paths}
    message = Message("iopub", "comm_msg", {"comm_id": "c", "data": data}, {}, buffers)
    found = widgets.reduced(message, {"c": Comm("jupyter.widget", (CONTROLS, model))}, 1000)
    assert len(found.message.buffers) == kept == len(found.message.content["data"]["buffer_paths"])
    assert found.pictures == sum(map(len, found.message.buffers))
    assert found.left_out == len(buffers) - kept


def test_an_output_widget_holds_reduced_outputs() -> None:
    outputs = [
        {"output_type": "stream", "name": "stdout", "text": "a", "x": "http://e/"},
        {"output_type": "display_data", "data": {"text/html": "<p>t<script>x</script>", "application/x": 1}},
    ]
    shown = update({"outputs": outputs}, (OUTPUT, "OutputModel"))["outputs"]
    assert shown[0] == {"output_type": "stream", "name": "stdout", "text": "a"}
    assert shown[1]["data"] == {"text/html": "<p>t</p>"}


def test_states_of_all_widgets_are_reduced_one_by_one() -> None:
    data = {
        "method": "update_states",
        "states": {
            "t": {"model_module_version": "2.0.0", "state": {"value": "v", "x": "y"}},
            "e": {"model_module_version": "2.0.0", "state": {"value": "http://e/"}},
            "gone": {"state": {}},
            "i": {"model_module_version": "2.0.0", "state": {"format": "png"}},
        },
        "buffer_paths": [["e", "state", "value"], ["i", "state", "value"]],
    }
    comms = {
        "c": Comm("jupyter.widget.control"),
        "t": Comm("jupyter.widget", (CONTROLS, "TextModel")),
        "e": Comm("jupyter.widget", ("evil", "X")),
        "i": Comm("jupyter.widget", (CONTROLS, "ImageModel")),
    }
    message = Message("iopub", "comm_msg", {"comm_id": "c", "data": data}, {}, (b"http://e/", PNG))
    found = widgets.reduced(message, comms, None)
    shown = found.message.content["data"]
    assert set(shown["states"]) == {"t", "i"}
    assert shown["states"]["t"]["state"] == {"value": "v"}
    assert shown["states"]["t"]["model_name"] == "TextModel"
    assert (shown["buffer_paths"], found.message.buffers) == ([["i", "state", "value"]], (PNG,))


ALL = """
import inspect, warnings
import ipywidgets
from ipywidgets import widgets as w
warnings.simplefilter('ignore')
made = []
for cls in {c for c in vars(w).values() if inspect.isclass(c) and issubclass(c, w.Widget)}:
    try:
        made.append(cls(options=['a', 'b'])) if 'options' in cls.class_trait_names() else made.append(cls())
    except Exception: pass
pair = (ipywidgets.IntSlider(), 'value'), (ipywidgets.IntSlider(), 'value')
for link in (ipywidgets.jslink, ipywidgets.jsdlink): link(*pair)
print(len(made))
"""


async def test_the_list_knows_every_key_of_real_widgets(guarded_lab: Lab) -> None:
    """Widgets of the installed ipywidgets lose nothing: what a new version adds fails here."""
    async with guarded_lab.page(guarded_lab.start_kernel("all.ipynb")) as page:
        guarded_lab.control.display["cell_bytes"] = 1 << 20
        messages = await page.run(ALL)
    assert int(text_of(messages)) > 60
    shown = {
        (state["_model_module"], state["_model_name"])
        for message in of_type(messages, "comm_open")
        if "_model_name" in (state := message["content"]["data"]["state"])
    }
    assert set(widgets.MODELS) - shown <= {(CONTROLS, "DescriptionStyleModel"), widgets.IMAGE}
    for message in of_type(messages, "comm_open"):
        state = message["content"]["data"]["state"]
        assert state["_view_module"] in {None, BASE, CONTROLS, OUTPUT}
    await asyncio.sleep(2)
    assert "widget state" not in json.dumps(guarded_lab.control.named("POST violations"))


async def test_widgets_above_public_are_shown_or_say_why_not(guarded_lab: Lab) -> None:
    code = """
import ipywidgets, traitlets
class Evil(ipywidgets.DOMWidget):
    _model_module = traitlets.Unicode('evil').tag(sync=True)
    _model_name = traitlets.Unicode('EvilModel').tag(sync=True)
    data = traitlets.Unicode('Evil data. ' * 100).tag(sync=True)
s = ipywidgets.IntSlider(description='n')
s.observe(lambda c: print('now', c['new']), 'value')
display(s)
display(Evil())
display(ipywidgets.Video(value=b'v' * 100))
"""
    async with guarded_lab.page(guarded_lab.start_kernel("w.ipynb")) as page:
        messages = await page.run(code)
        slider, *others = of_type(messages, "display_data")
        model = slider["content"]["data"][VIEW]["model_id"]
        assert all(VIEW not in message["content"]["data"] for message in others)
        assert any("widget" in message["content"]["data"]["text/plain"] for message in others)
        assert "Evil data" not in json.dumps(messages[2:]).replace(code, "")
        data = {"method": "update", "state": {"value": 7}, "buffer_paths": []}
        moved = await page.until_idle(await page.send("comm_msg", {"comm_id": model, "data": data}))
        assert "now 7" in text_of(moved)


async def test_an_output_widget_hears_the_cell_as_pages_know_it(lab: Lab) -> None:
    """The kernel names requests by the gate's ids; pages know their own."""
    async with lab.page(lab.start_kernel("o.ipynb")) as page:
        messages = await page.run("import ipywidgets\no = ipywidgets.Output()\nwith o: print('in it')")
        states = [m["content"]["data"]["state"] for m in of_type(messages, "comm_msg")]
        ids = [state["msg_id"] for state in states if "msg_id" in state]
        assert ids == [messages[0]["parent_header"]["msg_id"], ""]
