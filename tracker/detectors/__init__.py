"""Detectors, one file a family. Each is pure: (state, step) → (state, findings).

A detector sees the decided observations of one device in t* order (`tracker.track`). ``step``
returns episodes that are over; ``finish`` returns those that the data ends in. Nothing here knows a
clock: the present comes in as ``Scene.now_ms``, and only clock rules look at it.
"""
