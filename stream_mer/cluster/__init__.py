"""Several machines: workers compute channels, serving nodes serve them to clients, and NATS connects them.

A single process imports nothing of it. Only ``bus`` imports NATS.
"""
