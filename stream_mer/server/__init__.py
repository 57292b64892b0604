"""What leaves the process live: the messages of ``mer.v1``, the hub, the server, its page and its clients."""
