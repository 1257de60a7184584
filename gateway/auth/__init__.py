"""Authentication and authorization: credentials, principals, rights, method rules."""
