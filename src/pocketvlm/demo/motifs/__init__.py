"""What the scenes are made of: one module an element, each with several motifs."""
