"""Values of settings, apart from what they need, so that a configuration loads without it."""

from typing import Literal

StylePartner = Literal["same_picture", "same_style", "same_artist", "random"]
