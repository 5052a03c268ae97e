"""Text for people at a terminal: ``gotax check``, the live ``gotax top``, and ``gotax explain``.

Everything a stranger may have named passes ``text.printable``.
"""
