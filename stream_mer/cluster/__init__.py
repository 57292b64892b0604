"""Beyond one machine: workers compute channels, serving nodes fan them out, NATS carries what is between them.

Nothing here is needed, or imported, as long as one process does it all. ``bus`` alone knows NATS.
"""
