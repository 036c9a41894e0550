"""What people made, kept: records, versions of labels and the audit trail in SQLite, label files by content."""
