"""The demo song ``demo.ogg``, with its lyrics in ``demo.lrc``.

An original song in four passages, one for each of Russell's quadrants: happy, angry, sad, relaxed. ``tools/demo_song``
composed it for this project; it contains no recordings of people, and has the project's licence (MIT).
"""
