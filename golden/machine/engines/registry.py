"""Engines that the machine knows, by the code that a SETUP gives."""

from golden.machine.engines.engine import EngineModel

__all__ = ["find", "register", "withdraw"]

_MODELS: dict[int, EngineModel] = {}


def register(code: int, model: EngineModel) -> None:
    """Let SETUPs name an engine from now on."""
    if code in _MODELS:
        raise ValueError(f"engine {code} is registered already: withdraw it first")
    _MODELS[code] = model


def withdraw(code: int) -> None:
    """Let SETUPs name an engine no more."""
    del _MODELS[code]


def find(code: int) -> EngineModel | None:
    """The engine of that code, if there is one."""
    return _MODELS.get(code)
