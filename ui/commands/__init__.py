"""What the commands do, apart from how they are typed: `table.py` names them all."""
