"""Examples to adapters: data, training, export, gate, registry. Imports nothing from the other packages."""
