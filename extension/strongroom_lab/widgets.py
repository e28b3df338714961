"""Widgets above public: which models are shown, and which keys of their state, with what kind of value.

A widget's state is a program for the page: an HTML widget can hold a link, a text widget can ask for another widget's
view, an Output widget holds whole outputs. So models and keys are listed, values are checked, and everything else is
left out. Front ends other than the three packages of ipywidgets are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from strongroom_lab import markup, mime
from strongroom_lab.canon import OUTPUTS, Message
from strongroom_lab.values import (
    Check,
    Unfit,
    at_most,
    boolean,
    choice,
    list_of,
    mapping,
    nullable,
    number,
    text,
    whole,
)

BASE, CONTROLS, OUTPUT = "@jupyter-widgets/base", "@jupyter-widgets/controls", "@jupyter-widgets/output"
REFERENCE = re.compile(r"IPY_MODEL_[A-Za-z0-9_.:-]{1,128}\Z")
_WORD = re.compile(r"[a-z0-9 -]{0,64}\Z")
_VERSION = re.compile(r"[\d.^~*]{0,16}\Z")
_KEY = re.compile(r"[A-Za-z_]{1,64}\Z")
UPDATE_ALL = "update_states"

Model = tuple[str, str]
"""Module and name."""


@dataclass(frozen=True, slots=True)
class Comm:
    """An open comm: its target, and the widget model that it drives."""

    target: str
    model: Model | None = None


# --- kinds of values ----------------------------------------------------------------------------------------------


def _matching(pattern: re.Pattern[str]) -> Check:
    def check(value: Any) -> str:
        if not isinstance(value, str) or not pattern.match(value):
            raise Unfit("unexpected text")
        return value

    return check


def _spoken(value: Any) -> str:
    return markup.spoken(text(value))


def _html(value: Any) -> str:
    return markup.spoken(markup.html(text(value))) if value else ""


def _never(_value: Any) -> bool:
    return False


def _moment(value: Any) -> dict[str, int]:
    """A date or time as widgets send them: `{"year", "month", "date", "hours", "minutes", ...}`, all whole numbers."""
    return {name: whole(-10_000, 10_000)(mapping(value)[name]) for name in sorted(mapping(value)) if _KEY.match(name)}


def _end(value: Any) -> list[str]:
    """One end of a link between two widgets."""
    if not isinstance(value, list) or len(value) != 2:  # noqa: PLR2004 - a widget and its key
        raise Unfit("two expected")
    return [_matching(REFERENCE)(value[0]), _matching(_KEY)(value[1])]


def _tag(value: Any) -> Any:
    return _spoken(value) if isinstance(value, str) else number(value)


def _output(value: Any) -> dict[str, Any]:
    """One output that an Output widget holds, reduced like one of a cell. Raises Unfit."""
    given = mapping(value)
    kind = choice(*OUTPUTS)(given.get("output_type"))
    content = OUTPUTS[kind](given)
    if "data" in content:
        content["data"] = mime.guarded(content["data"]).data
    return {"output_type": kind, **content}


_number, _bool, _word = nullable(number), boolean, nullable(_matching(_WORD))
_css, _text, _texts = nullable(markup.css_value), nullable(_spoken), list_of(_spoken)
_reference, _references = nullable(_matching(REFERENCE)), list_of(_matching(REFERENCE))
_numbers, _date = list_of(number), nullable(_moment)

# --- keys of each model -------------------------------------------------------------------------------------------

_LAYOUT = (
    "align_content align_items align_self border_bottom border_left border_right border_top bottom display flex "
    "flex_flow grid_area grid_auto_columns grid_auto_flow grid_auto_rows grid_column grid_gap grid_row "
    "grid_template_areas grid_template_columns grid_template_rows height justify_content justify_items left "
    "margin max_height max_width min_height min_width object_fit object_position order overflow padding right "
    "top visibility width"
)
_STYLE = (
    "background bar_color button_color button_width description_width font_family font_size font_style font_variant "
    "font_weight handle_color text_color text_decoration"
)
_DOM: dict[str, Check] = {
    "_dom_classes": list_of(_matching(re.compile(r"widget-[a-z-]{1,32}\Z"))),
    "layout": _reference,
    "tabbable": nullable(_bool),
    "tooltip": _text,
}
_DESCRIBED: dict[str, Check] = {
    **_DOM,
    "description": _text,
    "description_allow_html": _never,
    "disabled": _bool,
    "style": _reference,
}
_RANGE: dict[str, Check] = {"min": _number, "max": _number, "step": _number}
_SLIDER: dict[str, Check] = {
    **_DESCRIBED,
    **_RANGE,
    "base": _number,
    "behavior": _word,
    "continuous_update": _bool,
    "orientation": _word,
    "readout": _bool,
    "readout_format": at_most(32),
}
_BUTTON: dict[str, Check] = {**_DESCRIBED, "button_style": _word, "icon": _word}
_PROGRESS: dict[str, Check] = {**_DESCRIBED, **_RANGE, "value": _number, "bar_style": _word, "orientation": _word}
_ENTRY: dict[str, Check] = {**_DESCRIBED, "continuous_update": _bool, "placeholder": _text}
_NUMBER: dict[str, Check] = {**_ENTRY, **_RANGE, "value": _number}
_SELECTION: dict[str, Check] = {**_DESCRIBED, "_options_labels": _texts, "index": nullable(whole(-1, 1 << 31))}
_SELECTION_SLIDER: dict[str, Check] = {**_SELECTION, **_SLIDER}
_BOX: dict[str, Check] = {**_DOM, "box_style": _word, "children": _references}
_STACK: dict[str, Check] = {**_BOX, "selected_index": _number, "titles": _texts}
_DATE: dict[str, Check] = {**_DESCRIBED, "value": _date, "min": _date, "max": _date, "step": nullable(_tag)}
_TAGS: dict[str, Check] = {
    **_DESCRIBED,
    **_RANGE,
    "allow_duplicates": _bool,
    "allowed_tags": list_of(_tag),
    "format": at_most(32),
    "placeholder": _text,
    "tag_style": _word,
    "value": list_of(_tag),
}
_PLAIN_VALUE: dict[str, Check] = {"value": text}
_LINK: dict[str, Check] = {"source": _end, "target": _end}
_STYLED: dict[str, Check] = dict.fromkeys(_STYLE.split(), _css)

MODELS: dict[Model, dict[str, Check]] = {
    (BASE, "LayoutModel"): dict.fromkeys(_LAYOUT.split(), _css),
    **{
        (CONTROLS, f"{name}StyleModel"): _STYLED
        for name in (
            *("Button", "Checkbox", "Description", "HTML", "HTMLMath", "Label", "Progress", "Slider", "Text"),
            *("ToggleButton", "ToggleButtons"),
        )
    },
    **{
        (CONTROLS, f"{name}Model"): keys
        for name, keys in {
            "Box": _BOX,
            "HBox": _BOX,
            "VBox": _BOX,
            "GridBox": _BOX,
            "Accordion": _STACK,
            "Tab": _STACK,
            "Stack": _STACK,
            "Button": _BUTTON,
            "ToggleButton": {**_BUTTON, "value": _bool},
            "Checkbox": {**_DESCRIBED, "value": _bool, "indent": _bool},
            "Valid": {**_DESCRIBED, "value": _bool, "readout": _text},
            "FloatSlider": {**_SLIDER, "value": _number},
            "FloatLogSlider": {**_SLIDER, "value": _number},
            "IntSlider": {**_SLIDER, "value": _number},
            "FloatRangeSlider": {**_SLIDER, "value": _numbers},
            "IntRangeSlider": {**_SLIDER, "value": _numbers},
            "FloatProgress": _PROGRESS,
            "IntProgress": _PROGRESS,
            "FloatText": _NUMBER,
            "IntText": _NUMBER,
            "BoundedFloatText": _NUMBER,
            "BoundedIntText": _NUMBER,
            "Text": {**_ENTRY, **_PLAIN_VALUE},
            "Textarea": {**_ENTRY, **_PLAIN_VALUE, "rows": _number},
            "Password": {**_ENTRY, **_PLAIN_VALUE},
            "Combobox": {**_ENTRY, **_PLAIN_VALUE, "options": _texts, "ensure_option": _bool},
            "Label": {**_DESCRIBED, "placeholder": _text, "value": _spoken},
            "HTML": {**_DESCRIBED, "placeholder": _text, "value": _html},
            "HTMLMath": {**_DESCRIBED, "placeholder": _text, "value": _html},
            "Dropdown": _SELECTION,
            "RadioButtons": {**_SELECTION, "orientation": _word},
            "Select": {**_SELECTION, "rows": _number},
            "SelectMultiple": {**_SELECTION, "rows": _number, "index": _numbers},
            "ToggleButtons": {**_SELECTION, "button_style": _word, "icons": list_of(_word), "tooltips": _texts},
            "SelectionSlider": _SELECTION_SLIDER,
            "SelectionRangeSlider": {**_SELECTION_SLIDER, "index": _numbers},
            "DatePicker": _DATE,
            "Datetime": _DATE,
            "NaiveDatetime": _DATE,
            "Time": _DATE,
            "ColorPicker": {**_DESCRIBED, "value": _css, "concise": _bool},
            "Play": {
                **_DESCRIBED,
                **_RANGE,
                "value": _number,
                "interval": _number,
                **dict.fromkeys(("playing", "repeat", "show_repeat"), _bool),
            },
            "TagsInput": _TAGS,
            "ColorsInput": _TAGS,
            "FloatsInput": _TAGS,
            "IntsInput": _TAGS,
            # The picture itself comes as a buffer.
            "Image": {**_DOM, "format": choice("png", "jpeg"), "width": _css, "height": _css},
            "Link": _LINK,
            "DirectionalLink": _LINK,
        }.items()
    },
    (OUTPUT, "OutputModel"): {**_DOM, "msg_id": text, "outputs": list_of(_output)},
}
"""Not shown: Audio, Video, FileUpload (data comes in through the catalogue) and Controller."""
_VIEWS = {
    "BoundedFloatTextModel": "FloatTextView",
    "BoundedIntTextModel": "IntTextView",
    "FloatProgressModel": "ProgressView",
    "IntProgressModel": "ProgressView",
    "NaiveDatetimeModel": "DatetimeView",
}
IMAGE = (CONTROLS, "ImageModel")
OUTPUT_MODEL = (OUTPUT, "OutputModel")


def _identity(model: Model) -> dict[str, Check]:
    """Which model and which view: its own. Another widget's view would read checked values in another sense."""
    module, name = model
    styled = name.endswith("StyleModel")
    view = "StyleView" if styled else _VIEWS.get(name, name.removesuffix("Model") + "View")
    return {
        "_model_module": choice(module),
        "_model_name": choice(name),
        "_model_module_version": _matching(_VERSION),
        "_view_module": nullable(choice(BASE if styled else module)),
        "_view_name": nullable(choice(view)),
        "_view_module_version": _matching(_VERSION),
        "_view_count": nullable(whole(0, 1 << 31)),
    }


_SCHEMAS = {model: {**_identity(model), **keys} for model, keys in MODELS.items()}

# --- messages -----------------------------------------------------------------------------------------------------


def model_of(message: Message) -> Model | None:
    """The model that a `comm_open` names."""
    state = message.content["data"].get("state")
    if not isinstance(state, dict):
        return None
    module, name = state.get("_model_module"), state.get("_model_name")
    return (module, name) if isinstance(module, str) and isinstance(name, str) else None


@dataclass(frozen=True, slots=True)
class Reduced:
    """What of a widget message may be shown, the bytes of pictures in it, and how many parts were left out."""

    message: Message
    pictures: int
    left_out: int


def reduced(message: Message, comms: Mapping[str, Comm], largest: int | None) -> Reduced:
    """What of a widget message is shown above public; pictures up to `largest` bytes.

    `comms` are those that are open and shown. Raises Unfit where nothing of it may be shown.
    """
    data = message.content["data"]
    comm = comms.get(message.content["comm_id"])
    target = message.content.get("target_name") or (comm.target if comm else "")
    if message.type == "comm_close":
        return Reduced(_with(message, {}, ()), 0, 0)
    if target == "jupyter.widget.control":
        return _all_states(message, comms, largest)
    model = model_of(message) if message.type == "comm_open" else comm and comm.model
    if model not in _SCHEMAS:
        raise Unfit("a widget that is not shown")
    method = data.get("method", "update")
    if message.type == "comm_msg" and method == "custom":
        return Reduced(_with(message, {"method": "custom", "content": _custom(data.get("content"))}, ()), 0, 0)
    if message.type == "comm_msg" and method not in {"update", "echo_update"}:
        raise Unfit("unknown method")
    state, left_out = _state(model, data.get("state"))
    picture = _picture(model, data.get("buffer_paths"), ["value"], message.buffers, largest)
    left_out += len(message.buffers) - len(picture)
    body = {"state": state, "buffer_paths": [["value"]] * len(picture)}
    if message.type == "comm_msg":
        body["method"] = method
    return Reduced(_with(message, body, picture), sum(map(len, picture)), left_out)


def _with(message: Message, data: dict[str, Any], buffers: tuple[bytes, ...]) -> Message:
    return replace(message.with_content(data=data), buffers=buffers)


def _custom(content: Any) -> dict[str, str]:
    return {"do": choice("focus", "blur")(mapping(content).get("do"))}


def _state(model: Model, state: Any) -> tuple[dict[str, Any], int]:
    """The keys that the model's schema knows and whose values fit it, and how many others there were."""
    schema, kept = _SCHEMAS[model], {}
    given = mapping(state)
    for key, value in given.items():
        check = schema.get(key)
        if check is not None:
            try:
                kept[key] = check(value)
            except Unfit:
                continue
    return kept, len(given) - len(kept)


def _picture(
    model: Model, paths: Any, wanted: list[str], buffers: tuple[bytes, ...], largest: int | None
) -> tuple[bytes, ...]:
    """The picture among a message's buffers, if it is one and not too large."""
    if model != IMAGE or not isinstance(paths, list) or wanted not in paths or paths.index(wanted) >= len(buffers):
        return ()
    raw = buffers[paths.index(wanted)]
    known = not raw or raw.startswith(tuple(mime.BINARY_IMAGES.values()))
    return (raw,) if known and (largest is None or len(raw) <= largest) else ()


def _all_states(message: Message, comms: Mapping[str, Comm], largest: int | None) -> Reduced:
    """The states of all widgets, which a page asks for when it is loaded anew."""
    data = message.content["data"]
    if message.type == "comm_open":
        return Reduced(_with(message, {}, ()), 0, 0)
    if data.get("method") != UPDATE_ALL:
        raise Unfit("unknown method")
    states: dict[str, Any] = {}
    paths: list[list[str]] = []
    buffers: list[bytes] = []
    left_out = pictures = 0
    for comm_id, entry in mapping(data.get("states")).items():
        comm = comms.get(comm_id)
        if comm is None or comm.model not in _SCHEMAS:
            left_out += 1
            continue
        state, dropped = _state(comm.model, mapping(entry).get("state"))
        path = [comm_id, "state", "value"]
        picture = _picture(comm.model, data.get("buffer_paths"), path, message.buffers, largest)
        paths += [path] * len(picture)
        buffers += picture
        left_out += dropped
        pictures += sum(map(len, picture))
        module, name = comm.model
        version = _matching(_VERSION)(mapping(entry).get("model_module_version"))
        states[comm_id] = {"model_name": name, "model_module": module, "model_module_version": version, "state": state}
    body = {"method": UPDATE_ALL, "states": states, "buffer_paths": paths}
    return Reduced(_with(message, body, tuple(buffers)), pictures, left_out)


def for_pages(message: Message, comms: Mapping[str, Comm], page_id: Callable[[str], str]) -> Message:
    """`message` with the request that an Output widget listens to named as pages know it (at every label)."""
    state = message.content["data"].get("state")
    if not isinstance(state, dict) or not isinstance(state.get("msg_id"), str):
        return message
    comm = comms.get(message.content["comm_id"])
    model = model_of(message) if message.type == "comm_open" else comm and comm.model
    if model != OUTPUT_MODEL:
        return message
    named = {**state, "msg_id": page_id(state["msg_id"])}
    return message.with_content(data={**message.content["data"], "state": named})
