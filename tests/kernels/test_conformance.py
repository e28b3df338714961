"""The protocol's own conformance tests: a kernel in its box answers them exactly as a plain one does.

They speak to the kernel's sockets directly. Pages never do: what the gate lets through of this is in tests/extension.
"""

from __future__ import annotations

import os
import unittest
from collections.abc import Callable
from typing import Any, ClassVar

import jupyter_kernel_test
import pytest
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import KernelManager
from strongroom_kernels.kernelspec import NAME, kernel_dirs

from tests.kernels.conftest import PREFIX_VARIABLE

pytestmark = pytest.mark.usefixtures("environment")


class Plain(KernelSpecManager):
    """ipykernel as it is started everywhere else."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        python = f"{os.environ[PREFIX_VARIABLE]}/bin/python"
        return KernelSpec(
            argv=[python, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            display_name=kernel_name,
            language="python",
            metadata={"kernel_provisioner": {"provisioner_name": "local-provisioner"}},
        )


class Conformance(jupyter_kernel_test.KernelTests):
    """What a Python kernel is asked."""

    __test__ = False  # pytest: run below, without root
    specs: Callable[[], KernelSpecManager]
    language_name = "python"
    file_extension = ".py"
    code_hello_world = "print('hello, world')"
    code_stderr = "import sys; print('error', file=sys.stderr)"
    completion_samples: ClassVar = [{"text": "zi", "matches": ["zip"]}]
    complete_code_samples: ClassVar = ["1", "print('hello')", "def f(x):\n  return x*2\n\n\n"]
    incomplete_code_samples: ClassVar = ["print('''hello", "def f(x):\n  x*2"]
    invalid_code_samples: ClassVar = ["import = 7q"]
    code_page_something = "zip?"
    code_generate_error = "raise"
    code_execute_result: ClassVar = [
        {"code": "1+2+3", "result": "6"},
        {"code": "[n*n for n in range(1, 4)]", "result": "[1, 4, 9]"},
    ]
    code_display_data: ClassVar = [
        {"code": "from IPython.display import HTML, display; display(HTML('<b>x</b>'))", "mime": "text/html"}
    ]
    code_history_pattern = "1?2*"
    supported_history_operations = ("tail", "search")
    code_inspect_sample = "zip"
    code_clear_output = "from IPython.display import clear_output; clear_output()"

    @classmethod
    def setUpClass(cls) -> None:
        cls.km = KernelManager(kernel_name=NAME, kernel_spec_manager=cls.specs())
        cls.km.start_kernel()
        cls.kc = cls.km.blocking_client()
        cls.kc.start_channels()
        cls.kc.wait_for_ready(timeout=30)

    @classmethod
    def tearDownClass(cls) -> None:
        cls.kc.stop_channels()
        cls.km.shutdown_kernel(now=True)


class Outcomes(unittest.TestResult):
    """Test -> how it ended, subtests as their tests' worst."""

    def __init__(self) -> None:
        super().__init__()
        self.by_test: dict[str, str] = {}

    def _note(self, test: unittest.TestCase, ended: str) -> None:
        self.by_test.setdefault(getattr(test, "_testMethodName", str(test)), ended)

    def addSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802 - unittest's names
        self._note(test, "passed")

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:  # noqa: N802
        self._note(test, f"skipped: {reason}")

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        self._note(test, f"failed: {err[1]}")

    def addError(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        self._note(test, f"failed: {err[1]!r}")

    def addSubTest(self, test: unittest.TestCase, _subtest: unittest.TestCase, err: Any) -> None:  # noqa: N802
        if err is not None:
            self._note(test, f"failed: {err[1]!r}")


def outcomes(specs: Callable[[], KernelSpecManager]) -> dict[str, str]:
    case = type("Case", (Conformance,), {"specs": staticmethod(specs)})
    result = Outcomes()
    unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
    return result.by_test


def boxed() -> KernelSpecManager:
    return KernelSpecManager(kernel_dirs=kernel_dirs())


def test_a_kernel_in_its_box_conforms_like_a_plain_one(unprivileged: Callable[[Callable[[], Any]], Any]) -> None:
    plain = unprivileged(lambda: outcomes(Plain))
    assert len(plain) >= 12
    # Neither has the third way to ask for history.
    assert set(plain.values()) == {"passed", "skipped: History range not supported"}
    assert unprivileged(lambda: outcomes(boxed)) == plain
