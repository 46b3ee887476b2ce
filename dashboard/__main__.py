"""`python -m dashboard COMMAND`; the commands are in `dashboard/shell/`."""

from __future__ import annotations

import sys

from dashboard.shell import main

if __name__ == "__main__":
    sys.exit(main())
