#!/usr/bin/env python3
"""Servers that lie, drip, flood and lead astray, as places of inputs and as model APIs: how each job ends (kind, advice), and the most memory that a
worker of the role net took. Drips take a minute, which is how long Spindle is patient.

usage: hostile.py FOLDER-OF-PROGRAMS
"""
import http.server, json, os, pathlib, shutil, socket, socketserver, subprocess, sys, tempfile, threading, time

programs = pathlib.Path(sys.argv[1]).resolve()
root = pathlib.Path(tempfile.mkdtemp(prefix="spindle-hostile-"))
GIB = 1 << 30
sent = {}


class Server(socketserver.StreamRequestHandler):
    def handle(self):
        try:
            self.answer()
        except OSError:
            pass

    def answer(self):
        head = []
        while (line := self.rfile.readline().strip()):
            head.append(line.decode())
        if not head:
            return
        path = head[0].split(" ")[1].split("/")[1]
        length = next((int(line.split(":")[1]) for line in head if line.lower().startswith("content-length")), 0)
        self.rfile.read(length)
        sent.setdefault(path, 0)

        def write(data):
            sent[path] += len(data)
            self.wfile.write(data)

        def redirect(to):
            write(f"HTTP/1.1 307 X\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode())

        flood = bytes(1 << 20)
        if path.startswith("huge"):
            write(f"HTTP/1.1 200 OK\r\nContent-Length: {10 * GIB}\r\n\r\n".encode())
            for _ in range(10 * 1024):
                write(flood)
        elif path.startswith("endless"):
            write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                write(b"100000\r\n" + flood + b"\r\n")
        elif path.startswith("head"):
            write(b"HTTP/1.1 200 OK\r\n")
            while True:
                write(b"X-More: and more and more and more\r\n" * 1000)
        elif path.startswith("drip"):
            write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            while True:
                write(b" ")
                time.sleep(0.2)
        elif path.startswith("loop"):
            redirect(f"/{path}")
        elif path.startswith("cloud"):
            redirect("http://169.254.169.254/latest/meta-data/")
        elif path.startswith("inside"):
            redirect(f"http://localhost:{port}/well")
        elif path.startswith("short"):
            write(b"HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: 5000\r\n\r\n" + bytes(100))
        elif path.startswith("long"):
            write(b"HTTP/1.1 206 OK\r\nContent-Range: bytes 0-9/10\r\n\r\n" + bytes(5000))
        elif path.startswith("page"):
            text = b"<!DOCTYPE html><title>404</title>"
            write(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: %d\r\n\r\n" % len(text) + text)
        elif path.startswith("bomb"):
            write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1000\r\n\r\n" + bytes(1000))
        elif path.startswith("cut"):
            write(b"HTTP/1.1 200 OK\r\nContent-Le")


class Threads(socketserver.ThreadingTCPServer):
    daemon_threads, allow_reuse_address = True, True


server = Threads(("127.0.0.1", 0), Server)
port = server.server_address[1]
threading.Thread(target=server.serve_forever, daemon=True).start()
API = ["huge", "endless", "head", "drip", "loop", "cloud", "inside", "cut", "bomb", "page"]
for folder in ("state", "models", "run", "out", "config/spindle"):
    (root / folder).mkdir(mode=0o700, parents=True)
(root / "config/spindle/spindled.toml").write_text(
    f'[remote]\nallow = ["127.0.0.1:{port}"]\ninput_max_mib = 200\n'
    + "".join(f'[providers.{name}]\nendpoint = "http://127.0.0.1:{port}/{name}-api"\nmodel = "m"\nkeys = []\ntimeout_seconds = 10\n' for name in API))
environment = dict(os.environ, SPINDLE_STATE_DIR=str(root / "state"), SPINDLE_MODEL_DIR=str(root / "models"), SPINDLE_SOCKET=str(root / "run/s"),
                   XDG_CONFIG_HOME=str(root / "config"), SPINDLE_WORKER=str(programs / "spindle-worker"))
log = open(root / "spindled.log", "w")
daemon = subprocess.Popen([programs / "spindled"], env=environment, stderr=log)


def ctl(*words):
    return subprocess.run([programs / "spindlectl", *words], env=environment, cwd=root / "out", capture_output=True, text=True)


def peak():
    pids = [worker["pid"] for worker in json.loads(ctl("--json", "workers").stdout) if worker["role"] == "net"]
    rows = [pathlib.Path(f"/proc/{pid}/status").read_text() for pid in pids]
    return max((int(row.split("VmHWM:")[1].split()[0]) // 1024 for row in rows), default=0)


bad = []
try:
    while ctl("health").returncode != 0:
        time.sleep(0.1)
    subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "sine=d=2", root / "out/in.wav"], check=True)
    print(f"{'what':<12} {'as':<6} {'kind':<11} {'sent by the server':>18} {'net, MiB':>9}  message … advice")
    jobs = [(name, "input", ["convert", "--to", "wav", "--retries=0", f"http://127.0.0.1:{port}/{name}.mp4"]) for name in (
        "huge", "endless", "head", "drip", "loop", "cloud", "inside", "short", "long", "page", "bomb", "cut")]
    jobs += [(name, "api", ["report", f"--provider={name}", "--format=json", "--retries=0", f"--title={name}", "in.wav", "-o", f"o-{name}"]) for name in API]
    for name, place, words in jobs:
        before = dict(sent)
        batch = ctl("-q", "submit", *words).stdout.strip()
        ctl("wait", batch, "--timeout", "200")
        job = json.loads(ctl("--json", "jobs", batch).stdout)[0]
        failure = job["failure"] or {}
        came = sum(sent.values()) - sum(before.values())
        print(f"{name:<12} {place:<6} {failure.get('kind', job['state']):<11} {came / 1e6:>15.1f} MB {peak():>9}  {failure.get('message', '')[:110]} … {failure.get('advice', '')[:60]}")
        if not failure.get("kind") or not failure.get("advice") or came > 400e6:
            bad.append((name, place))
    print("all refused with kind and advice" if not bad else f"NOT WELL: {bad}")
    sys.exit(bool(bad))
finally:
    daemon.terminate()
    daemon.wait()
    shutil.rmtree(root)
