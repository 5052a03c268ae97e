"""Queries of the store, and their results as plain values."""
