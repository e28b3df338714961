"""What analysts' packages show, with the packages themselves: whole at public, reduced with a notice above."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from strongroom_lab.interactive import TABLE
from strongroom_lab.mime import WITHHELD

from tests.extension.conftest import GUARDED, Lab, of_type, text_of

VIEW = "application/vnd.jupyter.widget-view+json"
FRAME = "import pandas as pd\nframe = pd.DataFrame({'a': [1, 2], 'b': [3.5, 4.5]})\n"


@pytest.fixture
def has(kernel_prefix: str) -> Any:
    def check(package: str) -> None:
        found = subprocess.run([f"{kernel_prefix}/bin/python", "-c", f"import {package}"], check=False)
        if found.returncode:
            pytest.skip(f"the kernels have no {package}")

    return check


async def bundles(lab: Lab, code: str) -> list[dict[str, Any]]:
    """The MIME bundles of all outputs of one cell, and its text as `stream`."""
    async with lab.page(lab.start_kernel("packages.ipynb")) as page:
        messages = await page.run(code, patience=60)
    assert not of_type(messages, "error"), of_type(messages, "error")
    shown = [m["content"]["data"] for m in messages if m["msg_type"] in {"display_data", "execute_result"}]
    return [*shown, {"stream": text_of(messages)}]


PLOT = "import matplotlib.pyplot as plt\nplt.plot([1, 2]); plt.show()"
SVG = f"%config InlineBackend.figure_formats = ['svg']\n{PLOT}"
STYLED = f"{FRAME}frame.style.background_gradient().bar(subset=['b'])"
RICH = "from rich.table import Table\nt = Table('n'); t.add_row('1')\nfrom rich.jupyter import print as p\np(t)"
WIDGETS = "import ipywidgets\nipywidgets.VBox([ipywidgets.HTML('<b>x</b>'), ipywidgets.IntSlider()])"
PLOTLY = "import plotly.express as px\npx.line(y=[1]).show()"
ITABLES = (
    f"{FRAME}import itables\nitables.init_notebook_mode(connected=False, all_interactive=False)\nitables.show(frame)"
)
TEXT, HTML = "text/plain", "text/html"
CASES: list[tuple[str, str, set[str], set[str], bool]] = [
    # package, code, types at public, types above public, whether a notice says that something is left out
    ("matplotlib", PLOT, {"image/png", TEXT}, {"image/png", TEXT}, False),
    ("matplotlib_inline", SVG, {"image/svg+xml", TEXT}, {"image/svg+xml", TEXT}, False),
    ("pandas", f"{FRAME}frame", {HTML, TEXT}, {HTML, TEXT}, False),
    ("jinja2", STYLED, {HTML, TEXT}, {HTML, TEXT}, False),
    ("polars", "import polars as pl\npl.DataFrame({'a': [1]})", {HTML, TEXT}, {HTML, TEXT}, False),
    ("rich", RICH, {HTML, TEXT}, {HTML, TEXT}, False),
    ("sympy", "import sympy\nsympy.sqrt(sympy.Symbol('x')) / 2", {"text/latex", TEXT}, {"text/latex", TEXT}, False),
    ("tqdm", "from tqdm.notebook import tqdm\nfor _ in tqdm(range(3)): pass", {VIEW, TEXT}, {VIEW, TEXT}, False),
    ("ipywidgets", WIDGETS, {VIEW, TEXT}, {VIEW, TEXT}, False),
    ("plotly", PLOTLY, {"application/vnd.plotly.v1+json"}, set(), True),
    ("itables", ITABLES, {HTML, TABLE}, {HTML}, True),
]


@pytest.mark.parametrize(("package", "code", "public", "above", "noticed"), CASES, ids=[case[0] for case in CASES])
async def test_packages_show_all_at_public_and_say_what_is_left_out_above(
    lab: Lab, guarded_lab: Lab, has: Any, package: str, code: str, public: set[str], above: set[str], noticed: bool
) -> None:
    has(package)
    guarded_lab.control.display = {**GUARDED, "cell_bytes": 1 << 20}
    at_public = await bundles(lab, code)
    assert any(public <= set(bundle) for bundle in at_public), [set(bundle) for bundle in at_public]
    assert not any(WITHHELD in bundle for bundle in at_public)
    guarded = await bundles(guarded_lab, code)
    if above:
        assert any(above <= set(bundle) for bundle in guarded), [set(bundle) for bundle in guarded]
    text = json.dumps([bundle for bundle in guarded if WITHHELD not in bundle])
    for active in ("<script", "javascript:", 'href=\\"http', "src=", "<link", "<iframe", "<form"):
        assert active not in text
    notices = [bundle[WITHHELD] for bundle in guarded if WITHHELD in bundle]
    assert bool(notices) == noticed, notices
    for notice in notices:
        assert "Active content is not shown at label confidential" in notice["text"]


async def test_progress_bars_in_text_pass(lab: Lab, guarded_lab: Lab, has: Any) -> None:
    has("tqdm")
    code = "from tqdm import tqdm\nfor _ in tqdm(range(3)): pass"
    for server in (lab, guarded_lab):
        assert "3/3" in (await bundles(server, code))[-1]["stream"]


async def test_a_styled_frame_keeps_its_colours_above_public(guarded_lab: Lab, has: Any) -> None:
    has("jinja2")
    [styled, _] = await bundles(guarded_lab, f"{FRAME}frame.style.map(lambda v: 'background-color: #ff0000')")
    assert "background-color: #ff0000" in styled["text/html"]
    assert 'id="T_' in styled["text/html"]
