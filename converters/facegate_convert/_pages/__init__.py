"""HTML pages of one file, with plots."""
