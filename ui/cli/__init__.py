"""What is typed: `main.py` parses, `running.py` runs it where the home is owned, `printing.py` prints."""
