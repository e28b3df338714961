"""Decisions on access: pure Python over Casbin, without Jupyter, HTTP or a database."""
