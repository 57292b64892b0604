"""Open Sound Control: values out to show software, an operator's commands in."""
