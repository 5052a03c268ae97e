"""Mutation testing: one small change of the code at a time, and some test has to fail."""
