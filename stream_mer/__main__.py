"""``python -m stream_mer`` is the ``stream-mer`` command."""

from stream_mer.cli import main

if __name__ == "__main__":
    main()
