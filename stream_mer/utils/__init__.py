"""General-purpose parts: hand-offs between threads, files, terminals, logs. Nothing here imports another room."""
