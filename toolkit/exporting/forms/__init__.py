"""Forms of an export, one file each: `toolkit/exporting/forms/<name>.py` has `open_form(about)`."""

import importlib
import pkgutil

from toolkit.core.errors import UserError
from toolkit.core.nearest import suggestion
from toolkit.exporting.api import About, Form


def form_names() -> list[str]:
    """Names of the forms, found by file name."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def check_form(name: str) -> str:
    """Returns `name`. Raises UserError for an unknown form, with the nearest one."""
    if name not in form_names():
        raise UserError(f"--as={name}: there is no such form: {suggestion(name, form_names())}")
    return name


def open_form(name: str, about: About) -> Form:
    """The form of a name, for one export."""
    form: Form = importlib.import_module(f"{__name__}.{name}").open_form(about)
    return form
