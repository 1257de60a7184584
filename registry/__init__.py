"""The registry: models, versions, approvals and logs, kept in SQLite or PostgreSQL.

- `storage`: the database, its migrations, and the store of artifacts.
- `log` and `answers`: Merkle logs in tables, and the answer log with encrypted openings.
- `state`: tables, events, and the unit of work that writes both in one transaction.
- `policy`, `models`, `promotion`, `credentials`, `uploads`: the use cases.
- `listing`, `audit`: what readers and auditors get.
- `formats`, `sandbox`: checks of a version's files, in a confined worker.
"""
