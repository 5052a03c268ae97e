"""Accepts connections within bounds, for gRPC and for the web page."""
