"""The demo song, and the small studio in which it is made.

``demo.ogg`` is an original song in four passages, one for each of Russell's quadrants: happy, angry, sad, relaxed.
Music, words, voice and sound are made by the modules beside it (``python -m stream_mer.demo.compose``); no recording
of anybody is in it. Song and code come under the licence of the project (MIT). espeak-ng, the program of the system
that speaks the words before they are sung, is only needed to compose anew, and what it says is free to use.

For the rest of the package the song is a file like any other.
"""
