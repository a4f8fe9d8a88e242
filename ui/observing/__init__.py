"""What is known of a running server: its log, its counts, its spans, its health."""
