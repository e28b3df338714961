"""The audit log: an append-only Merkle log in the control database, checkable by anybody who holds its public key."""
