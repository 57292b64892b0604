"""Streaming, real-time music emotion tagging: valence and arousal, emotion category and sung words, live."""

__version__ = "0.1.0"
