"""The doors of the package by name, each with what prepares its child."""

import importlib

from fuzz_verdicts import Outside, Wrong

__all__ = ["DOORS", "MODULES", "Outside", "Wrong", "prepare"]

MODULES = {
    "image": "fuzz_images",
    "picture": "fuzz_pictures",
    "table": "fuzz_tables",
    "soop": "fuzz_tables",
    "model": "fuzz_models",
    "archive": "fuzz_models",
    "cache": "fuzz_caches",
    "command": "fuzz_commands",
}
DOORS = {}


def prepare(door, home):
    """Load a door, and make what its cases begin with."""
    module = importlib.import_module(MODULES[door])
    module.prepare(home)
    DOORS.update(module.DOORS)
