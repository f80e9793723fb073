"""How well a model that has seen the built-in head alone finds its way on real photographs."""
