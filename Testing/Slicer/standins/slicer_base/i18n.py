"""Stand-in for Slicer's module of this name."""

import inspect
from pathlib import Path


def translate(context, text):
    from slicer import app

    return app.translate(context, text)


def tr(text):
    return translate(Path(inspect.currentframe().f_back.f_code.co_filename).stem, text)
