"""Cgroups: which container a path means, and what a cgroup may use and has used.

Three layouts exist: v2 (one unified tree), v1 (one tree per controller, each with its own path for
the same process) and hybrid (v1 controllers beside a unified tree that has none of them). All
paths here are the host's: ``Cgroups.read_entries`` undoes the agent's own cgroup namespace.
"""
