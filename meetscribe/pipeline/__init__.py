"""From a YAML file and a recording to files: choose the engine, run it, keep what it made."""
