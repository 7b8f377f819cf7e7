"""Pure decisions: when to save and what to keep.

Nothing here does I/O or reads a clock: the time is handed in with a ``Moment``. A policy is a
frozen value; several combine with ``|`` and the result holds where any of them does.
"""
