"""Resolve: which process, program and container a PID of a sample stands for.

``resolver.py`` is the way in.
"""
