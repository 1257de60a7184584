"""Places where a version can run: this process, other processes, Ray, or other servers."""
