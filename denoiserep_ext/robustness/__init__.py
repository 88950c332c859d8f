"""How checkpoints fare on a config's test set made worse."""
