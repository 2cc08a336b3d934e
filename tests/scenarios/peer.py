"""The other side of a recording: listeners, servers and callers that the recorded node talks to.

Runs in the node's network namespace but outside of its PID namespace, so that nothing of it is recorded.
Plan: a JSON list of {"mode", "address", "port", "lines", "pace", ...}.
"""
import http.server
import json
import os
import shlex
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
import time


def lines_to(connection, lines, pace):
    """Sends one line after another, as a person or a server would, and drops the answers."""
    def drain():
        try:
            while connection.recv(65536):
                pass
        except OSError:
            pass
    threading.Thread(target=drain, daemon=True).start()
    for line in lines:
        time.sleep(pace)
        try:
            connection.sendall(line.encode() + b"\n")
        except OSError:
            return
    time.sleep(max(pace, 0.3))


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def listen(peer):
    listener = socket.socket(family(peer["address"]), socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((peer["address"], peer["port"]))
    listener.listen(64)
    return encrypted(listener) if peer.get("tls") else listener


def encrypted(listener):
    """The same listener, speaking TLS with a certificate that nobody signed."""
    key, certificate = "/run/.peer/tls.key", "/run/.peer/tls.crt"
    if not os.path.exists(certificate):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-keyout", key, "-out", certificate, "-days", "30", "-subj", "/CN=srv"],
                       check=False, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context.wrap_socket(listener, server_side=True, do_handshake_on_connect=False)


def shell(peer):
    """Takes a connection and types lines into it."""
    listener = listen(peer)
    def serve():
        while True:
            connection, _ = listener.accept()
            def talk(connection=connection):
                lines_to(connection, peer["lines"], peer["pace"])
                connection.close()
            threading.Thread(target=talk, daemon=True).start()
    return serve


def sink(peer):
    """Reads all, answers one line per message when told to."""
    listener = listen(peer)
    answer = peer.get("answer", "").encode()
    def serve():
        while True:
            connection, _ = listener.accept()
            def read(connection=connection):
                try:
                    if answer:
                        connection.sendall(answer + b"\n")
                    while connection.recv(65536):
                        if answer:
                            connection.sendall(answer + b"\n")
                except OSError:
                    pass
                connection.close()
            threading.Thread(target=read, daemon=True).start()
    return serve


def web(peer):
    """Serves the plan's files, says ok to everything else, swallows uploads."""
    files = peer.get("files", {})
    class Handler(http.server.BaseHTTPRequestHandler):
        def body(self):
            length = int(self.headers.get("Content-Length") or 0)
            while length > 0:
                length -= len(self.rfile.read(min(length, 65536)) or b" " * length)
        def answer(self):
            self.body()
            content = files.get(self.path.split("?")[0], "ok\n").encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)
        do_GET = do_POST = do_PUT = do_HEAD = answer
        def log_message(self, *_):
            pass
    class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
        address_family = family(peer["address"])
        daemon_threads = True
        allow_reuse_address = True
    server = Server((peer["address"], peer["port"]), Handler)
    if peer.get("tls"):
        server.socket = encrypted(server.socket)
    return server.serve_forever


def dns(peer):
    """Answers every question with one address."""
    server = socket.socket(family(peer["address"]), socket.SOCK_DGRAM)
    server.bind((peer["address"], peer["port"]))
    def serve():
        while True:
            question, who = server.recvfrom(4096)
            end = question.find(b"\0", 12) + 5
            head = question[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + question[12:end]
            server.sendto(head + b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + socket.inet_aton("203.0.113.7"), who)
    return serve


def udp(peer):
    """Takes datagrams and answers them with its lines, one after the other."""
    server = socket.socket(family(peer["address"]), socket.SOCK_DGRAM)
    server.bind((peer["address"], peer["port"]))
    lines = peer["lines"]
    def serve():
        at = 0
        while True:
            _, who = server.recvfrom(65536)
            if lines:
                server.sendto(lines[at % len(lines)].encode() + b"\n", who)
                at += 1
    return serve


def redis(peer):
    """Gives the node's key-value store its commands."""
    def serve():
        base = ["redis-cli", "-h", peer["address"], "-p", str(peer["port"])]
        for _ in range(100):
            if subprocess.run([*base, "ping"], check=False, capture_output=True).stdout.strip() == b"PONG":
                break
            time.sleep(0.1)
        for line in peer["lines"]:
            for command in line.splitlines():
                words = [word.encode().decode("unicode_escape") for word in shlex.split(command)]
                subprocess.run([*base, *words], stdin=subprocess.DEVNULL, timeout=9, check=False, capture_output=True)
                time.sleep(peer["pace"])
    return serve


def sql(peer):
    """Gives each line to the node's database, to be run as a program or, when it is SQL, as it is."""
    def serve():
        base = ["psql", "-q", "-h", peer["address"], "-p", str(peer["port"]), "-U", "postgres"]
        for _ in range(100):
            if subprocess.run([*base, "-c", "select 1"], check=False, capture_output=True).returncode == 0:
                break
            time.sleep(0.1)
        for line in peer["lines"]:
            text = line if peer.get("plain") else "copy (select 1) to program $cmd$" + line + "$cmd$"
            subprocess.run([*base, "-c", text], stdin=subprocess.DEVNULL, timeout=15, check=False, capture_output=True)
            time.sleep(peer["pace"])
    return serve


def dial(peer):
    """Calls into the node, as often as it takes, and types lines."""
    def serve():
        for _ in range(int(peer.get("times", 1))):
            for _ in range(80):
                try:
                    connection = socket.create_connection((peer["address"], peer["port"]), 1)
                    break
                except OSError:
                    time.sleep(0.1)
            else:
                return
            lines_to(connection, peer["lines"], peer["pace"])
            connection.close()
    return serve


def request(peer):
    """Sends HTTP requests to a server in the node."""
    def serve():
        from urllib.parse import quote
        for line in peer["lines"]:
            for _ in range(80):
                try:
                    connection = socket.create_connection((peer["address"], peer["port"]), 1)
                    break
                except OSError:
                    time.sleep(0.1)
            else:
                return
            connection.settimeout(8)
            connection.sendall(f"GET /{peer.get('path', 'run')}?q={quote(line)} HTTP/1.0\r\nHost: web\r\n\r\n".encode())
            try:
                while connection.recv(65536):
                    pass
            except OSError:
                pass
            time.sleep(peer["pace"])
    return serve


def sshd(peer):
    """A second host to log in to."""
    subprocess.run(["dropbearkey", "-t", "ed25519", "-f", "/run/.peer/hostkey"], check=False, capture_output=True)
    address = f"[{peer['address']}]" if ":" in peer["address"] else peer["address"]
    child = subprocess.Popen(["dropbear", "-F", "-E", "-r", "/run/.peer/hostkey", "-p", f"{address}:{peer['port']}"])
    return child.wait


def login(peer):
    """Logs in to the node's own ssh server and runs each line, or types them into one terminal session."""
    def serve():
        base = ["dbclient", "-y", "-y", "-i", "/run/.peer/id", "-p", str(peer["port"])]
        to = f"{peer.get('user', 'root')}@{peer['address']}"
        for _ in range(80):
            try:
                socket.create_connection((peer["address"], peer["port"]), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        if peer.get("typed"):
            child = subprocess.Popen([*base, "-t", to], stdin=subprocess.PIPE)
            for line in [*peer["lines"], "exit"]:
                time.sleep(peer["pace"])
                child.stdin.write(line.encode() + b"\n")
                child.stdin.flush()
            child.stdin.close()
            child.wait(8)
        else:
            for line in peer["lines"]:
                subprocess.run([*base, to, line], stdin=subprocess.DEVNULL, timeout=9, check=False)
                time.sleep(peer["pace"])
    return serve


MODES = {"shell": shell, "sink": sink, "web": web, "dns": dns, "udp": udp, "sql": sql, "redis": redis, "dial": dial, "request": request,
         "sshd": sshd, "login": login}


def main():
    workers = []
    for peer in json.load(open(sys.argv[1], encoding="utf-8")):
        peer.setdefault("lines", [])
        peer.setdefault("pace", 0.2)
        try:
            workers.append(MODES[peer["mode"]](peer))
        except OSError as error:
            print(f"{peer['mode']} on {peer['address']} port {peer['port']}: {error}", file=sys.stderr)
    for worker in workers:
        threading.Thread(target=worker, daemon=True).start()
    open("/run/.peer/ready", "w", encoding="utf-8").close()
    time.sleep(float(os.environ.get("PEER_SECONDS", "30")))


main()
