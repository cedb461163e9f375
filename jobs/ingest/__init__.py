"""Step ``ingest``: delivered files into landing, bronze, quarantine and silver."""
