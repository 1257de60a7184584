"""A first installation on one machine: keys, certificates, policy and configuration files."""
