"""A TCP proxy between the job and the broker that can cut, stall, and watch for the end of a transaction."""

import socket
import struct
import threading

END_TXN = 26


class Proxy:
    """Listens where the broker says it is, and forwards to where it really is."""

    def __init__(self, listen, target):
        self.target = target
        self.pairs, self.lock = set(), threading.Lock()
        self.blocked = threading.Event()
        self.cut_after_commits = 0
        self.cuts = 0
        self.server = socket.create_server(("127.0.0.1", listen))
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            if self.blocked.is_set():
                client.close()
                continue
            try:
                broker = socket.create_connection(("127.0.0.1", self.target), 5)
            except OSError:
                client.close()
                continue
            pair = (client, broker)
            with self.lock:
                self.pairs.add(pair)
            threading.Thread(target=self.requests, args=(pair,), daemon=True).start()
            threading.Thread(target=self.pump, args=(broker, client, pair), daemon=True).start()

    def requests(self, pair):
        """Forwards whole requests, so that their kind is known; cuts right behind an EndTxn when asked to."""
        client, broker = pair
        try:
            while True:
                head = exactly(client, 4)
                body = exactly(client, struct.unpack(">i", head)[0])
                broker.sendall(head + body)
                if struct.unpack(">h", body[:2])[0] == END_TXN and self.cut_after_commits > 0:
                    self.cut_after_commits -= 1
                    self.cuts += 1
                    self.close(pair)
                    return
        except (OSError, EOFError):
            self.close(pair)

    def pump(self, source, sink, pair):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        self.close(pair)

    def close(self, pair):
        with self.lock:
            self.pairs.discard(pair)
        for end in pair:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()

    def block(self):
        """The network is gone: open connections end, new ones are refused."""
        self.blocked.set()
        with self.lock:
            pairs = list(self.pairs)
        for pair in pairs:
            self.close(pair)

    def unblock(self):
        self.blocked.clear()

    def stop(self):
        # Closing alone does not wake the thread that accepts, and the port would stay taken.
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        self.block()


def exactly(connection, count):
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise EOFError
        data += more
    return data
