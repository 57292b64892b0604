"""A show on disk: what was published and, if wanted, what was heard; to be served again, drawn and exported."""
