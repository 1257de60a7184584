"""`sealgate audit`: verifies the logs, and shows what a decision or a key reaches."""
