"""The auditor's pack: a folder with logs and documents that other people's programs can check."""
