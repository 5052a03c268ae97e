"""Agents and a collector under faults: nothing that was acknowledged is lost or stored twice."""
