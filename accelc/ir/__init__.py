"""The graph and what every pass needs from it: rewriting, shapes, text, verification, cost."""
