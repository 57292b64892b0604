"""Where events go besides the websockets: files and pictures."""
