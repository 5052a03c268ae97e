"""A receiver of OTLP profiles that accepts everything: ``python -m bench.receiver CERT KEY``.

Prints its port. It decodes nothing: its own cost is not measured.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc


class _Accepting(grpc.GenericRpcHandler):
    def service(self, _: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        return grpc.unary_unary_rpc_method_handler(lambda _request, _context: b"")


def main() -> None:
    certificate, key = (Path(name).read_bytes() for name in sys.argv[1:3])
    server = grpc.server(
        ThreadPoolExecutor(2),
        handlers=[_Accepting()],
        options=(("grpc.max_receive_message_length", 64 << 20),),
    )
    credentials = grpc.ssl_server_credentials([(key, certificate)])
    print(server.add_secure_port("127.0.0.1:0", credentials), flush=True)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
