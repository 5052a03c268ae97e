from tests.kernel.conftest import group, load

__all__ = ("group", "load")
