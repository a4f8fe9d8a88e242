"""Everything that is measured, one after another: `make bench` (about two hours on two cores)."""

import subprocess
import sys

for module in (
    "bench.speed",
    "bench.requantised",
    "bench.cancelling",
    "bench.answers_by",
    "bench.quality",
    "bench.curve",
    "bench.openapi",
):
    print(f"== {module}", flush=True)
    subprocess.run([sys.executable, "-m", module], check=False)
