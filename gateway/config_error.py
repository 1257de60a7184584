"""What is said of a configuration that cannot be used."""


class ConfigError(Exception):
    """The configuration is unusable; the text says what to change."""
