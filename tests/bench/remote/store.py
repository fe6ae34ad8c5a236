#!/usr/bin/env python3
"""Input and output through an S3-compatible server on loopback (s3rver, which checks who signs and until when; the signature itself is checked on the
way by botocore, which signs each request once more): small and multipart objects, a kill -9 of the
daemon in the middle of an upload (no partial object, resumed), an unknown key, and a signed link before and after its time.

usage: store.py FOLDER-OF-PROGRAMS FOLDER-WITH-node_modules/s3rver
"""
import botocore.auth, botocore.awsrequest, botocore.credentials, datetime, http.server, json, os, pathlib, shutil, signal, socket, subprocess, sys, tempfile, threading, time, urllib.error, urllib.parse, urllib.request

programs, modules = (pathlib.Path(folder).resolve() for folder in sys.argv[1:3])
root = pathlib.Path(tempfile.mkdtemp(prefix="spindle-store-"))
KEY, SECRET = "S3RVER", "S3RVER"
failures = []


def shows(what, well, more=""):
    print(f"{'ok  ' if well else 'FAIL'} {what} {more}")
    if not well:
        failures.append(what)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


store_port, front_port = free_port(), free_port()
store = subprocess.Popen(
    ["node", "-e", f"""
const S3rver = require('s3rver');
new S3rver({{port: {store_port}, address: '127.0.0.1', silent: true, directory: {json.dumps(str(root / 'objects'))}, vhostBuckets: false,
  configureBuckets: [{{name: 'talks'}}, {{name: 'other'}}, {{name: 'broken'}}]}}).run(e => {{ if (e) throw e; console.log('up'); }});
"""], cwd=modules, stdout=subprocess.PIPE, text=True)
store.stdout.readline()
parts, hold = [], {"after": None}


signing, signatures = threading.Lock(), {"right": 0, "WRONG": 0}


def sign_again(method, target, headers):
    """What botocore makes of the same request at the same time."""
    parts = urllib.parse.urlsplit(target)
    query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
    if not query.get("X-Amz-Credential", "").startswith(KEY + "/"):
        return
    own = urllib.parse.urlencode({name: value for name, value in query.items() if not name.startswith("X-Amz-")}, quote_via=urllib.parse.quote)
    signed = {name: headers[name] for name in query["X-Amz-SignedHeaders"].split(";") if name != "host"}
    request = botocore.awsrequest.AWSRequest(method, f"http://{headers['Host']}{parts.path}{'?' if own else ''}{own}", headers=signed)
    at = datetime.datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
    with signing:
        botocore.auth.get_current_datetime = lambda *_, **__: at
        region = query["X-Amz-Credential"].split("/")[2]
        auth = botocore.auth.S3SigV4QueryAuth(botocore.credentials.Credentials(KEY, SECRET), "s3", region, expires=int(query["X-Amz-Expires"]))
        auth.add_auth(request)
    theirs = urllib.parse.parse_qs(urllib.parse.urlsplit(request.url).query)["X-Amz-Signature"][0]
    signatures["right" if theirs == query["X-Amz-Signature"] else "WRONG"] += 1


class Front(http.server.BaseHTTPRequestHandler):
    """Stands before the server, counts the parts of uploads, and holds one where it is told to."""
    protocol_version = "HTTP/1.1"

    def pass_on(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        sign_again(self.command, self.path, self.headers)
        if "partNumber=" in self.path:
            parts.append(int(self.path.split("partNumber=")[1].split("&")[0]))
            if hold["after"] is not None and len(parts) > hold["after"]:
                time.sleep(3600)
        asked = urllib.request.Request(f"http://127.0.0.1:{store_port}{self.path}", data=body or None, method=self.command)
        for name, value in self.headers.items():
            if name.lower() not in ("content-length", "connection"):
                asked.add_unredirected_header(name, value)
        try:
            answer = urllib.request.urlopen(asked)
        except urllib.error.HTTPError as error:
            answer = error
        text = answer.read()
        self.send_response(answer.status if hasattr(answer, "status") else answer.code)
        for name, value in answer.headers.items():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        self.send_header("Content-Length", answer.headers["Content-Length"] if self.command == "HEAD" else str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = pass_on

    def log_message(self, *_):
        pass


front = http.server.ThreadingHTTPServer(("127.0.0.1", front_port), Front)
front.daemon_threads = True
threading.Thread(target=front.serve_forever, daemon=True).start()
for folder in ("state", "models", "run", "out", "config/spindle"):
    (root / folder).mkdir(mode=0o700, parents=True)
(root / "secret").write_text(SECRET)


def section(name, bucket, secret, minutes=0, access="env:SHOW_ACCESS_KEY"):
    return f"""
[stores.{name}]
endpoint = "http://127.0.0.1:{front_port}"
bucket = "{bucket}"
path_style = true
access_key = "{access}"
secret_key = "{secret}"
link_minutes = {minutes}
"""


(root / "wrong").write_text("not-the-key-at-all")
(root / "config/spindle/spindled.toml").write_text(
    section("media", "talks", f"file:{root}/secret", 1) + section("second", "other", f"file:{root}/secret") + section("broken", "broken", f"file:{root}/wrong", access=f"file:{root}/wrong"))
environment = dict(
    os.environ, SPINDLE_STATE_DIR=str(root / "state"), SPINDLE_MODEL_DIR=str(root / "models"), SPINDLE_SOCKET=str(root / "run/s"),
    XDG_CONFIG_HOME=str(root / "config"), SPINDLE_WORKER=str(programs / "spindle-worker"), SHOW_ACCESS_KEY=KEY)
log = open(root / "spindled.log", "a")
ctl_environment = {name: value for name, value in environment.items() if name != "SHOW_ACCESS_KEY"}


def start():
    daemon = subprocess.Popen([programs / "spindled"], env=environment, stderr=log)
    while ctl("health").returncode != 0:
        time.sleep(0.1)
    return daemon


def ctl(*words):
    return subprocess.run([programs / "spindlectl", *words], env=ctl_environment, cwd=root / "out", capture_output=True, text=True)


def get(url):
    try:
        with urllib.request.urlopen(url) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def objects():
    """Keys that the server lists, by its own folder: what is unfinished lies under a hidden name."""
    found = (path.relative_to(root / "objects") for path in (root / "objects").rglob("*._S3rver_object"))
    return sorted(str(path)[: -len("._S3rver_object")] for path in found if ".uploads" not in str(path) and "_uploads" not in str(path))


def wav(path, megabytes):
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", f"anoisesrc=d={megabytes * 1e6 / 192_000:.2f}:r=48000:seed=7", "-ac", "2", path], check=True)


daemon = start()
try:
    wav(root / "out/small.wav", 2)
    wav(root / "out/large.wav", 60)
    # Outputs: one piece, then parts.
    ran = ctl("--json", "submit", "convert", "--to", "mp3", "--wait", "-o", "s3://talks/made/here", "small.wav")
    shows("a small output goes to the store", ran.returncode == 0 and "talks/made/here/small.mp3" in objects(), ran.stderr.strip()[-300:])
    job = json.loads(ctl("--json", "jobs", "1").stdout)[0]
    links = [value for name, value in job.get("detail", job).items() if name.startswith("link ")] or [
        value for name, value in json.loads(ctl("--json", "result", "1").stdout)["jobs"][0].items() if name.startswith("link ")]
    shows("the result has a link", len(links) == 1)
    if links:
        status, body = get(links[0])
        shows("the link works before its time", status == 200 and body == (root / "objects/talks/made/here/small.mp3._S3rver_object").read_bytes(), status)
    linked_at = time.time()
    # kill -9 in the middle of a multipart upload.
    hold["after"] = 3
    ctl("submit", "convert", "--to", "wav", "-o", "s3://talks/made", "large.wav")
    deadline = time.time() + 120
    while len(parts) < 4 and time.time() < deadline:
        time.sleep(0.1)
    daemon.send_signal(signal.SIGKILL)
    daemon.wait()
    shows("killed in the middle: no partial object is to be seen", not any("large" in name for name in objects()), objects())
    before = list(parts)
    parts.clear()
    hold["after"] = None
    daemon = start()
    ran = ctl("wait", "2")
    shows("resumed: what the store had was not sent again", ran.returncode == 0 and parts and parts[0] == 4, f"first {before}, then {parts}; {ran.stderr.strip()[-200:]}")
    there = [name for name in objects() if "large" in name]
    shows("the whole is there", len(there) == 1, there)
    # An input out of the store.
    ran = ctl("submit", "convert", "--to", "mp3", "--wait", "-o", "back", f"s3://{there[0].split('/', 1)[0]}/{there[0].split('/', 1)[1]}")
    shows("an input comes out of the store", ran.returncode == 0 and any((root / "out/back").glob("*.mp3")), ran.stderr.strip()[-300:])
    # Several stores in turn; what is there already; wrong keys; an unknown bucket.
    shutil.copy(root / "out/small.wav", root / "out/b.wav")
    shutil.copy(root / "out/small.wav", root / "out/c.wav")
    (root / "config/spindle/spindled.toml").write_text(section("media", "talks", f"file:{root}/secret", 1) + section("second", "other", f"file:{root}/secret"))
    ran = ctl("submit", "convert", "--to", "mp3", "--wait", "-o", "s3://talks/made/here", "small.wav")
    shows("the same again counts as done", ran.returncode == 0, ran.stderr.strip()[-200:])
    ran = ctl("submit", "convert", "--to", "ogg", "--wait", "-o", "s3://broken/x", "small.wav")
    failure = json.loads(ctl("--json", "jobs", "5").stdout)[0]["failure"] or {}
    shows("an unknown key is told as such", ran.returncode != 0 and failure.get("kind") == "auth", failure.get("message"))
    ran = ctl("submit", "convert", "--to", "mp3", "-o", "s3://nobodys/x", "small.wav")
    shows("an unknown bucket is refused at once", ran.returncode == 2, ran.stderr.strip())
    daemon.terminate()
    daemon.wait()
    daemon = start()
    ran = ctl("submit", "convert", "--to", "mp3", "--wait", "-o", "s3://*/turns", "small.wav", "b.wav", "c.wav")
    turns = [name for name in objects() if "turns" in name]
    shows("stores take turns", ran.returncode == 0 and len({name.split("/")[0] for name in turns}) == 2, turns)
    checked = json.loads(ctl("--json", "stores", "check").stdout or "[]")
    shows("`stores check` tries each out and leaves nothing", [store["usable"] for store in checked] == [True, True] and not [name for name in objects() if "check" in name],
          [(store["store"], store["write_seconds"], store["links_expire"], store["removes"], store["failure"]) for store in checked])
    shows("botocore signs as we do", signatures["right"] > 20 and not signatures["WRONG"], signatures)
    # Keys are nowhere.
    needles = [b"not-the-key-at-all"]
    places = [path for folder in ("state", "run") for path in (root / folder).rglob("*") if path.is_file()] + [root / "spindled.log"]
    found = [str(path) for path in places if any(needle in path.read_bytes() for needle in needles)]
    shows("no key in the store, the log or what lies beside", not found, found)
    workers = json.loads(ctl("--json", "workers").stdout or "[]")
    exposed = [worker["role"] for worker in workers if b"SHOW_ACCESS_KEY" in pathlib.Path(f"/proc/{worker['pid']}/environ").read_bytes()]
    shows("no key in the environment of workers but those that fetch and ask", workers and set(exposed) <= {"net"}, f"{[worker['role'] for worker in workers]} {exposed}")
    # The link after its time.
    if links:
        time.sleep(max(0, linked_at + 62 - time.time()))
        status, body = get(links[0])
        shows("the link is refused after its time", status == 403 and b"expired" in body, f"{status} {body[:200]}")
finally:
    daemon.terminate()
    daemon.wait()
    store.terminate()
    if failures:
        print((root / "spindled.log").read_text()[-3000:])
    shutil.rmtree(root)
sys.exit(bool(failures))
