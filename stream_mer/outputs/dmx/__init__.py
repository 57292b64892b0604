"""Light over the network: from the values of a stream to the channels of lamps, by sACN and Art-Net.

``colour``, ``look`` (what the music wants), ``rig`` (which lamps there are), ``patch`` (where), ``channels`` (their
bytes, and the light that these make), ``render`` (all of it, within the limits of ``safety``), ``pacing`` (what is
sent when), ``presets`` and ``tables`` (TOML) are pure; ``sacn`` and ``artnet`` are sockets, ``output`` joins them.
"""
