"""A TCP proxy that keeps all that goes through it."""

import contextlib
import socket
import threading


class RecordingProxy:
    """Listens at :attr:`port` and hands on to another port of this machine.

    Attributes:
        sent (bytearray): What clients sent.
        received (bytearray): What they got.
    """

    def __init__(self, target):
        self.target = target
        self.sent, self.received = bytearray(), bytearray()
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        with contextlib.suppress(OSError):  # when it is closed
            while True:
                client, _ = self.listener.accept()
                try:
                    server = socket.create_connection(
                        ('127.0.0.1', self.target)
                    )
                except OSError:
                    client.close()
                    continue
                for source, sink, record in (
                    (client, server, self.sent),
                    (server, client, self.received),
                ):
                    threading.Thread(
                        target=self.hand_on,
                        args=(source, sink, record),
                        daemon=True,
                    ).start()

    @staticmethod
    def hand_on(source, sink, record):
        with contextlib.suppress(OSError):
            while data := source.recv(2**16):
                record += data
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.listener.close()
