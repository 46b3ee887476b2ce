"""Whether this computer has the device of the settings, asked before anything is started."""

from __future__ import annotations

import subprocess
import sys

from dashboard.contracts.precision import AUTO, CPU
from dashboard.errors import SettingsError
from dashboard.settings import Settings

LACKS = 3  # exit code
CHECK = f"""
import sys
from dashboard.capture.device import find_device
from dashboard.errors import SettingsError
try:
    find_device(sys.argv[1])
except SettingsError as error:
    print(error, file=sys.stderr)
    sys.exit({LACKS})
"""


def check_device(settings: Settings) -> None:
    """Raise `SettingsError`, saying what to do, if this computer has no such device.

    A process of its own looks: only workers have torch in memory.
    """
    if settings.device in (AUTO, CPU):
        return
    asked = subprocess.run([sys.executable, "-c", CHECK, settings.device], capture_output=True, text=True, check=False)
    said = (asked.stderr.strip().splitlines() or [""])[-1]
    if asked.returncode == LACKS:
        raise SettingsError(said)
    if asked.returncode != 0:
        raise SettingsError(f"PyTorch cannot be asked for {settings.device} ({said}). Install it again, or choose cpu.")
