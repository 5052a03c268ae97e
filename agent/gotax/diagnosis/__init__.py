"""From counted samples to a verdict. Pure: imports only the model."""
