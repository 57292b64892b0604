"""The small studio in which the demo song is made: ``python -m tools.demo_song.compose``.

Music, words, voice and sound are made by the modules here; no recording of anybody is in it. espeak-ng, the program of
the system that speaks the words before they are sung, is only needed to compose anew, and what it says is free to use.
"""
