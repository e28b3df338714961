"""Strongroom's trusted side beside the notebook server: hub parts, control service and vault."""

__version__ = "0.1.0"
