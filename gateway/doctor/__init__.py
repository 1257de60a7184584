"""`sealgate doctor`: what this machine has, what fits it, and what is wrong."""
