"""Open datasets from a notebook in a Strongroom: `strongroom.open("namespace/name").to_pandas()`."""

from strongroom._api import (  # `strongroom.open` is the point
    Budget,
    Label,
    budget,
    catalog,
    export,
    files,
    label,
    open,  # noqa: A004
    request,
    save,
)
from strongroom._catalog import Catalog
from strongroom._dataset import Dataset
from strongroom._drafts import Draft
from strongroom._errors import AccessDenied, StrongroomError, Unavailable, UnknownDataset
from strongroom._files import Files
from strongroom._save import Saved
from strongroom._stream import Stream

__version__ = "0.1.0"
__all__ = [
    "AccessDenied",
    "Budget",
    "Catalog",
    "Dataset",
    "Draft",
    "Files",
    "Label",
    "Saved",
    "Stream",
    "StrongroomError",
    "Unavailable",
    "UnknownDataset",
    "budget",
    "catalog",
    "export",
    "files",
    "label",
    "open",
    "request",
    "save",
]
