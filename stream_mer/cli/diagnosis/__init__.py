"""What `stream-mer diagnose` finds out about a machine."""
