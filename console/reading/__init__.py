"""What the console reads from the gateway in a person's name, verified before it is shown."""
