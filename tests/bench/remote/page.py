#!/usr/bin/env python3
"""Inputs on pages by the true yt-dlp against a page on loopback: found, with a title that would like to be a path or an option; the way to this machine
closed where it is not allowed; a daemon killed in the middle leaves no yt-dlp behind.

usage: page.py FOLDER-OF-PROGRAMS YT-DLP
"""
import http.server, json, os, pathlib, shutil, signal, subprocess, sys, tempfile, threading, time

programs, ytdlp = (pathlib.Path(word).resolve() if os.sep in word else word for word in sys.argv[1:3])
ytdlp = pathlib.Path(sys.argv[2]).absolute()
root = pathlib.Path(tempfile.mkdtemp(prefix="spindle-page-"))
failures, asked, slow = [], [], threading.Event()
TITLE = "../../../x --exec=touch${IFS}evil; `touch evil` \" | %(id)s"


def shows(what, well, more=""):
    print(f"{'ok  ' if well else 'FAIL'} {what} {more}")
    if not well:
        failures.append(what)


class Site(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        asked.append(self.path)
        path = self.path.split("?")[0]
        if path == "/media.mp4":
            data = (root / "film.mp4").read_bytes()
            self.send_response(200)
            self.send_header("Content-Type", "video/mp4")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command == "GET":
                half = len(data) // 2
                self.wfile.write(data[:half])
                self.wfile.flush()
                if slow.is_set():
                    time.sleep(600)
                self.wfile.write(data[half:])
        elif path == "/cloud":
            self.send_response(302)
            self.send_header("Location", "http://169.254.169.254/latest/")
            self.end_headers()
        else:
            source = "http://169.254.169.254/media.mp4" if "metadata" in path else f"http://{host}/media.mp4"
            text = f"<!DOCTYPE html><html><head><title>{TITLE}</title><meta property='og:title' content='{TITLE}'></head><body><video src='{source}'></video></body></html>".encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
host = f"127.0.0.1:{server.server_port}"
for folder in ("state", "models", "run", "out", "config/spindle"):
    (root / folder).mkdir(mode=0o700, parents=True)
subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=d=5", "-f", "lavfi", "-i", "sine=d=5", "-pix_fmt", "yuv420p", root / "film.mp4"], check=True)


def configure(allowed):
    allow = f'allow = ["{host}"]\n' if allowed else ""
    (root / "config/spindle/spindled.toml").write_text(f'[remote]\n{allow}ytdlp = ["{host}"]\nytdlp_program = "{ytdlp}"\n')


environment = dict(os.environ, SPINDLE_STATE_DIR=str(root / "state"), SPINDLE_MODEL_DIR=str(root / "models"), SPINDLE_SOCKET=str(root / "run/s"),
                   XDG_CONFIG_HOME=str(root / "config"), SPINDLE_WORKER=str(programs / "spindle-worker"))
log = open(root / "spindled.log", "a")


def ctl(*words):
    return subprocess.run([programs / "spindlectl", *words], env=environment, cwd=root / "out", capture_output=True, text=True)


def start():
    daemon = subprocess.Popen([programs / "spindled"], env=environment, stderr=log)
    while ctl("health").returncode != 0:
        time.sleep(0.1)
    return daemon


def readers():
    found = []
    for place in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if f"--output=recording".encode() in place.read_bytes() and str(host).encode() in place.read_bytes():
                found.append(int(place.parent.name))
        except OSError:
            pass
    return found


def failure(batch):
    return json.loads(ctl("--json", "jobs", batch).stdout)[0]["failure"] or {}


configure(True)
daemon = start()
try:
    begun = time.monotonic()
    ran = ctl("submit", "convert", "--to", "mp3", "--wait", f"http://{host}/watch?v=--exec=touch%20evil&x=$(touch%20evil)")
    made = sorted(str(path.relative_to(root / "out")) for path in (root / "out").rglob("*"))
    shows("the recording on the page is found", ran.returncode == 0, f"in {time.monotonic() - begun:.1f} s: {made} {ran.stderr.strip()[-200:]}")
    shows("neither address nor title makes a path or a command", made == ["exec=touch evil.mp3"] and not any(root.parent.glob("evil")) and not list(root.rglob("evil")), made)
    ran = ctl("submit", "convert", "--to", "mp3", "--wait", "--retries=0", f"http://{host}/metadata")
    shows("a page that leads to the cloud's keys", failure("2").get("kind") == "permission", failure("2").get("message"))
    ran = ctl("submit", "convert", "--to", "mp3", "--wait", "--retries=0", f"http://{host}/cloud")
    shows("a redirect that leads there", failure("3").get("kind") == "permission", failure("3").get("message"))
    slow.set()
    batch = ctl("-q", "submit", "convert", "--to", "mp3", f"http://{host}/slow").stdout.strip()
    while "/media.mp4" not in asked[-1] or not readers():
        time.sleep(0.1)
    time.sleep(1)
    daemon.send_signal(signal.SIGKILL)
    daemon.wait()
    deadline = time.time() + 20
    while readers() and time.time() < deadline:
        time.sleep(0.1)
    shows("killed in the middle: no program is left behind", not readers(), readers())
    slow.clear()
    daemon = start()
    ran = ctl("wait", batch)
    shows("the next daemon brings it to its end", ran.returncode == 0, ran.stderr.strip()[-200:])
    left = [str(path) for path in (root / "state").rglob("*") if "recording" in path.name or ".page" in path.name]
    shows("nothing is left behind in the state folder", not left, left)
    daemon.terminate()
    daemon.wait()
    configure(False)
    daemon = start()
    before = len(asked)
    ctl("submit", "convert", "--to", "mp3", "--wait", "--retries=0", f"http://{host}/again")
    shows("without leave this machine is out of reach", failure("5").get("kind") == "permission" and len(asked) == before, failure("5").get("message"))
finally:
    daemon.terminate()
    daemon.wait()
    if failures:
        print((root / "spindled.log").read_text()[-3000:])
    shutil.rmtree(root)
sys.exit(bool(failures))
