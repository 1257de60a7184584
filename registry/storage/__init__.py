"""Storage of the record: databases with their migrations, and stores of artifacts."""
