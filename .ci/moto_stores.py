"""Serves moto's DynamoDB and S3 on a free port of the loopback address. Prints its address."""

from threading import Lock

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import ThreadedWSGIServer

moto = DomainDispatcherApplication(create_backend_app)
lock = Lock()


def one_at_a_time(environ, start_response):
    """Answers one request after the other, because moto does not lock its tables: of two conditional writes at once both could succeed."""
    with lock:
        return list(moto(environ, start_response))


class Server(ThreadedWSGIServer):
    # A test connects 400 times at once.
    request_queue_size = 1024


server = Server("127.0.0.1", 0, one_at_a_time, handler=MotoRequestHandler)
print(f"http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
