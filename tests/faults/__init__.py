"""Agents and a collector whose world breaks: nothing that was acknowledged is lost or doubled."""
