"""Where events go besides the websockets: OSC, lamps, recordings, files. Live outputs share its rules of safety."""
