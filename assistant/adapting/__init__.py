"""From examples to a candidate in the registry: `planning.py` makes a job, `jobs.py` runs it, `process.py` is it."""
