"""Measurements against named peers; nothing here is shipped. RESULTS.md holds the figures that were seen."""
