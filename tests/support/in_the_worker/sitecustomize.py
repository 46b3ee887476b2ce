"""Python imports this in every process of the browser tests' server: a test can hold a run in its worker
(`Server.holding`).

A held run has computed some of its layers and goes on saying so, as if its text were very long: it is asked whether
anybody still waits, can be cancelled, and its worker can be killed. It goes on once its file in the folder `HELD_RUNS`
is gone.
"""

import os
import sys
import time
from pathlib import Path

if any("multiprocessing.spawn" in word for word in sys.orig_argv):
    from dashboard.contracts.job import Progress
    from dashboard.jobs.worker import Reporter

    report, held = Reporter.__call__, Path(os.environ["HELD_RUNS"])

    def report_and_hold(reporter: Reporter, progress: Progress) -> None:
        report(reporter, progress)
        while progress.phase == "layers" and (held / reporter._claim.spec.key).exists():
            time.sleep(0.02)
            report(reporter, progress)

    Reporter.__call__ = report_and_hold  # type: ignore[method-assign]
