"""Inference: verified model versions are loaded, batched, screened and run.

`engine` decides what may answer, `backends` are the places where a version can run, and `server` is
an engine in a process of its own.
"""
