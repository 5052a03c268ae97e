"""Hostile input by the million, kept away from everything else: see __main__."""
