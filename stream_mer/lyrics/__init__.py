"""The sung words: recognised on the way or known beforehand, committed, encoded."""
