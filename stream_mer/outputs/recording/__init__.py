"""Recordings of shows: the events and, if requested, the audio, on disk."""
