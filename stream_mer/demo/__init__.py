"""The demo song, with its words beside it.

``demo.ogg`` is an original song in four passages, one for each of Russell's quadrants: happy, angry, sad, relaxed. It
was composed for this project by ``tools/demo_song``; no recording of anybody is in it. It comes under the licence of
the project (MIT). For the rest of the package the song is a file like any other.
"""
