"""Composes the demo song: ``python -m tools.demo_song.compose``. No recording is used; espeak-ng speaks the words."""
