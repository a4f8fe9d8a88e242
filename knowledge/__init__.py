"""Documents to passages: loading, splitting, embedding, cataloguing, indexing and retrieval.

SQL is the truth, Chroma and the keyword tables are rebuildable from it. This package imports nothing
from `assistant`, `adapters` or `ui`.
"""
