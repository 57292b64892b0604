"""Audio sources: files, URLs, sound inputs, standard input and clients. All of them yield mono audio at 16 kHz."""
