"""The chat on pages of other hosts: its script (`script/`), its routes, the sites that it may stand on, an example."""
