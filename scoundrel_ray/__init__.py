"""Games, search, networks and evaluation: the part of the framework that knows no Ray."""
