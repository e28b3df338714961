"""Open datasets from a notebook in a Strongroom: `strongroom.open("namespace/name").to_pandas()`."""

from strongroom._api import Budget, Label, budget, catalog, label, open  # noqa: A004 - `strongroom.open` is the point
from strongroom._catalog import Catalog
from strongroom._dataset import Dataset
from strongroom._errors import AccessDenied, StrongroomError, Unavailable, UnknownDataset

__version__ = "0.1.0"
__all__ = [
    "AccessDenied",
    "Budget",
    "Catalog",
    "Dataset",
    "Label",
    "StrongroomError",
    "Unavailable",
    "UnknownDataset",
    "budget",
    "catalog",
    "label",
    "open",
]
