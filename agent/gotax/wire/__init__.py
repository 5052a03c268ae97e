"""What agent and collector share: the wire, addresses, listening sockets, and Student's t.

Modules with names that end in _pb2 are generated from proto/ by `make proto`, never by hand. Only
exporters import those, and late.
"""
