"""The sample applications: one module and one entry for each."""

from collections.abc import Mapping
from typing import Any

from . import bookinfo, emojivoto
from .interface import App

APPS: Mapping[str, App[Any]] = {app.name: app for app in (bookinfo.APP, emojivoto.APP)}
"""Applications by their name in `meshup:apps`."""
