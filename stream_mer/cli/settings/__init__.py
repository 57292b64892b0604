"""Settings from a TOML file, the environment and flags: for every option of every command, without naming any."""
