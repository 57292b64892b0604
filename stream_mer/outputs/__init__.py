"""Where events go besides the websockets: OSC, lamps, recordings and files."""
