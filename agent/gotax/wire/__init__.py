"""What agent and collector share: the wire, addresses, and sockets that wait for connections.

Modules with names that end in _pb2 are generated from proto/ by `make proto`, never by hand. Only
exporters import those, and late.
"""
