"""From counted samples to a verdict. Pure: knows only the model."""
