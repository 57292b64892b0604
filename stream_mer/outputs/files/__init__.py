"""What ``tag`` writes: JSON lines, CSV, lyrics, pictures."""
