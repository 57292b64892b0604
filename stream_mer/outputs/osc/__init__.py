"""Open Sound Control: the values out to show software, an operator's commands in.

``addresses`` (what is sent, where to), ``presets``, ``tables`` (TOML) and ``composer`` (what to send when) are pure;
``links``, ``out`` and ``inlet`` are threads and sockets around them, and ``packets`` alone knows python-osc.
"""
