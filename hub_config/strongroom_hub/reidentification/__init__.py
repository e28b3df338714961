"""Tokens that are turned back into values: one person asks, a steward agrees, one person sees it, once."""
