"""The files that ``tag`` writes: JSON lines, CSV, lyrics, pictures."""
