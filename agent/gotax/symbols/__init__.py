"""Symbolize and classify: from addresses to stacks and categories.

``symbolizer.py`` is the way in.
"""
