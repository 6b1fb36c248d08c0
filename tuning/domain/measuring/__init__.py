"""What to measure of a configuration, in which order, and when that is enough. Pure.

`course.py` decides, from `catching.py` (can it still become the best?), `shapes.py` (what a load
that was not measured would give), `noise.py`, `saturation.py`, `limits.py` and `order.py`.
`goodput_course.py` does it for goodput.
"""
