"""What faces show: a front as facts (JSON), as a table and as a page."""
