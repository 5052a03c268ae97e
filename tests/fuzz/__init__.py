"""Fuzzing with millions of hostile inputs, separate from the other tests: see __main__."""
