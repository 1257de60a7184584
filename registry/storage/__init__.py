"""Where the record is kept: databases with their migrations, and stores of artifacts."""
