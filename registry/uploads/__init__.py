"""Resumable uploads, and the removal of files that no version names."""
