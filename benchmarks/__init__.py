"""Benchmarks of stream_mer, run by hand: ``python -m benchmarks NAME [--json FILE]``.

A benchmark is a module of this package with a function ``measure(**options) -> Measurement`` and, if it has options,
``OPTIONS``, a tuple of ``click.Option``. The first line of its docstring is its line in the list. Nothing needs to be
registered: to add a benchmark, add a module. ``docs/BENCHMARKS.md`` says how to read the results.
"""
