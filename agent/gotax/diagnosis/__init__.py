"""From counted hits to a verdict. Pure: knows only the model."""
