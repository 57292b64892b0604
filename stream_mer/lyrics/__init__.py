"""Lyrics: recognised or known beforehand, committed line by line, and encoded for the text branch."""
