"""The cascade: route, try the levels in order, answer, record.

Imports `knowledge` and `adapters`, never `ui`. Start reading at `pipeline.py`; everything is wired in `build.py`.
"""
