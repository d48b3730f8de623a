"""From a composed Hydra config to checked plain data and to the members that it names."""
