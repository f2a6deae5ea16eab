"""``dni-doctor``: what would keep a run from working well on this host, or over a link."""
