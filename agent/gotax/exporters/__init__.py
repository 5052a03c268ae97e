"""Ways a Window leaves gotax. Each knows only the model (and the wire format it speaks)."""
