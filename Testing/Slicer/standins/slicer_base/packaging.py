"""Stand-in for Slicer's module of this name: looks for real, asks for real, installs with the real pip."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement

import slicer


def load_requirements(path):
    lines = [line.partition("#")[0].strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith("-")]


def _all(requirements):
    if isinstance(requirements, str):
        requirements = requirements.split()
    return [Requirement(str(one)) for one in (requirements if isinstance(requirements, list) else [requirements])]


def pip_check(requirements):
    for one in _all(requirements):
        try:
            if importlib.metadata.version(one.name) not in one.specifier and (not one.marker or one.marker.evaluate()):
                return False
        except importlib.metadata.PackageNotFoundError:
            if not one.marker or one.marker.evaluate():
                return False
    return True


def pip_install(requirements, **_):
    subprocess.run([sys.executable, "-m", "pip", "install", *map(str, _all(requirements))], check=True)


def pip_ensure(requirements, *, requester=None, prompt_install=True, **_):
    missing = [one for one in _all(requirements) if not pip_check(one)]
    if not missing:
        return
    message = f"{len(missing)} Python packages need to be installed. Continue?"
    details = "\n".join(f"- {one}" for one in missing)
    title = f"{requester} - Install Python Packages"
    if prompt_install and not slicer.util.confirmOkCancelDisplay(message, title, detailedText=details):
        raise RuntimeError("User declined package installation")
    pip_install(missing)
