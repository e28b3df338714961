from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # `import enclave`: shared by the control service's test folders

from enclave import Clock, Enclave, Vault, make_instance, open_enclave
from strongroom_hub.control import setup


@pytest.fixture
def enclave(tmp_path: Path) -> Iterator[Enclave]:
    """A control service with the default policy and nothing else."""
    instance = make_instance(tmp_path)
    setup.create(instance)
    made = open_enclave(instance, Clock(), Vault(instance.public_dir / "vault.pub.pem"))
    yield made
    made.close()


@pytest.fixture
def cardio(enclave: Enclave) -> Enclave:
    """With project cardio and the confidential dataset health/randhie."""
    enclave.project()
    enclave.dataset()
    return enclave
