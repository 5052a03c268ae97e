"""Kubernetes Events about warnings that begin and end. Optional."""
