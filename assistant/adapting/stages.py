"""One stage of a job as a process: it takes the job's folder, and what goes wrong stands in it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from adapters import job
from adapters.errors import AdapterError


def run_stage(work: Callable[[Path], None]) -> int:
    """Work on the folder that the command line names; the exit status of the process."""
    parser = argparse.ArgumentParser(description=work.__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    try:
        work(folder)
    except Exception as error:  # the process's edge: whoever waits reads the reason in the folder
        told = str(error) if isinstance(error, AdapterError) else f"{type(error).__name__}: {error}"
        job.tell(folder, "failed", reason=told)
        print(told, file=sys.stderr)
        return 1
    return 0
