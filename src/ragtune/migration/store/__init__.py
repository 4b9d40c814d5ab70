"""What lies in an archive: a manifest, contents by hash, and how they get there."""
