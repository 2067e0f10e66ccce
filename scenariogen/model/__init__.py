"""How likely which incident is, where, when and under which traffic."""
