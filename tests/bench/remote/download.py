#!/usr/bin/env python3
"""Fetches a gigabyte from a server on loopback that cuts the connection five times, and says whether every sample came, what was asked for, and the
most memory that a worker of the role net took.

usage: download.py FOLDER-OF-PROGRAMS [MIB]      needs room for three times as much in the temporary folder
"""
import hashlib, http.server, json, os, pathlib, shutil, struct, subprocess, sys, tempfile, threading, time

programs = pathlib.Path(sys.argv[1]).resolve()
mib = int(sys.argv[2]) if len(sys.argv) > 2 else 1024
CUTS = 5
root = pathlib.Path(tempfile.mkdtemp(prefix="spindle-download-"))
block = hashlib.shake_256(b"sound").digest(1 << 20)
data = mib << 20
head = b"RIFF" + struct.pack("<I", data + 36) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 2, 48_000, 192_000, 4, 16) + b"data" + struct.pack("<I", data)
whole = len(head) + data
asked = []


def at(begin, end):
    """Bytes of the file, a piece at a time."""
    while begin < end:
        if begin < len(head):
            piece = head[begin:end]
        else:
            inside = (begin - len(head)) % len(block)
            piece = block[inside:inside + min(end - begin, len(block) - inside)]
        yield piece
        begin += len(piece)


class Server(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        wanted = self.headers.get("Range")
        begin = int(wanted[6:].rstrip("-")) if wanted else 0
        asked.append(begin)
        end = min(whole, begin + whole // (CUTS + 1)) if len(asked) <= CUTS else whole
        self.send_response(206 if wanted else 200)
        self.send_header("ETag", '"one"')
        self.send_header("Content-Length", str(whole - begin))
        if wanted:
            self.send_header("Content-Range", f"bytes {begin}-{whole - 1}/{whole}")
        self.end_headers()
        for piece in at(begin, end):
            self.wfile.write(piece)
        self.close_connection = True

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
host = f"127.0.0.1:{server.server_port}"
for folder in ("state", "models", "run", "out", "config"):
    (root / folder).mkdir(mode=0o700)
environment = dict(
    os.environ, SPINDLE_STATE_DIR=root / "state", SPINDLE_MODEL_DIR=root / "models", SPINDLE_SOCKET=root / "run/s", XDG_CONFIG_HOME=root / "config",
    SPINDLE_REMOTE__ALLOW=f'["{host}"]', SPINDLE_WORKER=programs / "spindle-worker",
)
log = open(root / "spindled.log", "w")
daemon = subprocess.Popen([programs / "spindled"], env=environment, stderr=log)


def ctl(*words):
    return subprocess.run([programs / "spindlectl", *words], env=environment, cwd=root / "out", capture_output=True, text=True)


peak, peaks = 0, []
try:
    while ctl("health").returncode != 0:
        time.sleep(0.1)
    began = time.monotonic()
    batch = ctl("-q", "submit", "convert", "--to", "wav", f"http://{host}/talk.wav").stdout.strip()
    fetched = None
    while True:
        for worker in json.loads(ctl("--json", "workers").stdout or "[]"):
            if worker["role"] == "net":
                status = pathlib.Path(f"/proc/{worker['pid']}/status")
                rows = dict(line.split(":", 1) for line in status.read_text().splitlines()) if status.exists() else {}
                if "VmRSS" in rows:
                    peaks.append(int(rows["VmRSS"].split()[0]) // 1024)
                    peak = max(peak, int(rows["VmHWM"].split()[0]) // 1024)
        job = json.loads(ctl("--json", "jobs", batch).stdout)[0]
        if fetched is None and job["stage"] != "fetch":
            fetched = time.monotonic() - began
        if job["state"] in ("completed", "failed", "cancelled"):
            break
        time.sleep(0.2)
    print(f"{job['state']}: {mib} MiB in {len(asked)} connections from {[begin >> 20 for begin in asked]} MiB, about {fetched:.1f} s")
    print(f"worker of the role net: at most {peak} MiB; resident now and then: {peaks[:: max(1, len(peaks) // 12)]} MiB")
    if job["state"] != "completed":
        sys.exit(f"{job['failure']}")
    expected = hashlib.md5()
    for piece in at(len(head), whole):
        expected.update(piece)
    made = next((root / "out").glob("*.wav"))
    told = subprocess.run(["ffmpeg", "-v", "error", "-i", made, "-f", "s16le", "-"], stdout=subprocess.PIPE)
    right = hashlib.md5(told.stdout).hexdigest() == expected.hexdigest()
    print("every sample as it was served" if right else "SAMPLES DIFFER")
    sys.exit(0 if right else 1)
finally:
    daemon.terminate()
    daemon.wait()
    shutil.rmtree(root)
