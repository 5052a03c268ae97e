"""Text for people at a terminal: ``gotax check``, the live ``gotax top``, and ``gotax explain``.

All untrusted names pass through ``text.printable``.
"""
