#!/usr/bin/env python3
"""Two hundred reports by a scripted model API on loopback that answers late, asks for fewer calls (429 with and without Retry-After), fails, and cuts
connections, while the daemon is killed twice (kill -9); it does the same work once, and says 409 to who asks for it while it is at it: calls in any minute and at the same time as the service counts them, bills by idempotency
key, tries, and how long it took. In real time, with a limit of 60 calls a minute: about five minutes.

usage: limits.py FOLDER-OF-PROGRAMS [JOBS] [PER-MINUTE] [AT-ONCE]
"""
import collections, http.server, json, os, pathlib, random, shutil, signal, socket, struct, subprocess, sys, tempfile, threading, time

programs = pathlib.Path(sys.argv[1]).resolve()
numbers = [int(word) for word in sys.argv[2:]]
jobs, per_minute, at_once = numbers + [200, 60, 5][len(numbers):]
root = pathlib.Path(tempfile.mkdtemp(prefix="spindle-limits-"))
KEY = "sk-limits-0123456789abcdef"
LESSON = {"title": "T", "summary": "S", "content_sections": [{"title": "A", "content": "B", "timestamp_seconds": 0, "key_points": []}]}
chance = random.Random(7)
lock, arrived, spans, bills, told = threading.Lock(), [], [], collections.Counter(), collections.Counter()
answers, at_work = {}, set()


class Endpoint(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def thinks(self, seconds, span):
        """Goes on thinking though nobody waits for it any more; who has hung up is no call under way."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(0.02)
            try:
                if span[1] is None and self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b"":
                    span[1] = time.monotonic()
            except BlockingIOError:
                pass
            except OSError:
                span[1] = span[1] or time.monotonic()

    def do_POST(self):
        begun = time.monotonic()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        work = self.headers["Idempotency-Key"]
        with lock:
            arrived.append(begun)
            span = [begun, None]
            spans.append(span)
            what, wait = chance.choices(["well", "429 after", "429", "500", "cut"], [80, 6, 4, 5, 5])[0], chance.uniform(0.3, 4)
            if work in answers:
                what, wait = "known", 0.05
            elif work in at_work:
                what, wait = "409", 0.05
            elif what == "well":
                at_work.add(work)
        self.thinks(wait, span)
        headers, status, text = {}, 200, b"{}"
        if what in ("well", "known"):
            text = json.dumps({"choices": [{"message": {"content": json.dumps(LESSON)}, "finish_reason": "stop"}],
                               "usage": {"prompt_tokens": 900, "completion_tokens": 100}}).encode()
            with lock:
                # It honours the key: the same work is done, and billed, once.
                bills[work] += what == "well"
                at_work.discard(work)
                if answers.setdefault(work, hash(body)) != hash(body):
                    told["another question under a known key"] += 1
        elif what.startswith("429"):
            status = 429
            if "after" in what:
                headers["Retry-After"] = "2"
        elif what in ("409", "500"):
            status = int(what)
        with lock:
            told[what] += 1
            span[1] = span[1] or time.monotonic()
        if what == "cut":
            self.close_connection = True
            return
        try:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(text))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)
        except OSError:
            with lock:
                told["nobody took the answer"] += 1

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
for folder in ("state", "models", "run", "in", "config/spindle"):
    (root / folder).mkdir(mode=0o700, parents=True)
(root / "config/spindle/spindled.toml").write_text(f"""
[providers.oracle]
endpoint = "http://127.0.0.1:{server.server_port}/v1"
model = "seer"
keys = ["env:LIMITS_API_KEY"]
at_once = {at_once}
per_minute = {per_minute}
""")
environment = dict(os.environ, SPINDLE_STATE_DIR=str(root / "state"), SPINDLE_MODEL_DIR=str(root / "models"), SPINDLE_SOCKET=str(root / "run/s"),
                   XDG_CONFIG_HOME=str(root / "config"), SPINDLE_WORKER=str(programs / "spindle-worker"), LIMITS_API_KEY=KEY)
log = open(root / "spindled.log", "a")
samples = 8_000
for number in range(jobs):
    data = struct.pack("<h", number) * samples
    head = b"RIFF" + struct.pack("<I", len(data) + 36) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8_000, 16_000, 2, 16) + b"data" + struct.pack("<I", len(data))
    (root / f"in/{number:03}.wav").write_bytes(head + data)


def ctl(*words):
    return subprocess.run([programs / "spindlectl", *words], env=environment, cwd=root / "in", capture_output=True, text=True)


def start():
    daemon = subprocess.Popen([programs / "spindled"], env=environment, stderr=log)
    while ctl("health").returncode != 0:
        time.sleep(0.1)
    return daemon


daemon = start()
try:
    begun = time.monotonic()
    # No retries are needed where a service asks for fewer calls; errors and cuts take one.
    sent = ctl("-q", "submit", "report", "--provider=oracle", "--template=summary_report", "--format=json", "-j16", "--retries=6", "-r", ".")
    if sent.returncode:
        sys.exit(sent.stderr)
    batch = sent.stdout.strip()
    for share in (0.25, 0.6):
        while len(arrived) < share * jobs:
            time.sleep(0.1)
        daemon.send_signal(signal.SIGKILL)
        daemon.wait()
        daemon = start()
    ended = ctl("--json", "wait", batch, "--timeout", "30m")
    took = time.monotonic() - begun
    result = json.loads(ctl("--json", "result", batch).stdout)
    moments = sorted(arrived)
    in_a_minute = max(sum(1 for at in moments if first <= at < first + 60) for first in moments)
    same = max(sum(1 for begin, end in spans if begin <= at < (end or at + 1)) for at in moments)
    lanes = json.loads(ctl("--json", "lanes").stdout)
    attempts = collections.Counter(job["attempts"] for job in result["jobs"])
    print(f"{result['completed']} of {jobs} reports in {took:.0f} s, {len(moments)} calls, 2 x kill -9")
    print(f"calls in any minute, counted by the service: {in_a_minute} of {per_minute}; at the same time: {same} of {at_once}")
    print(f"what it did: {dict(told)}")
    print(f"bills: {sum(bills.values())} for {len(bills)} pieces of work; largest {max(bills.values())}")
    print(f"attempts of jobs: {dict(attempts)}; 429s are none of them")
    print(f"permits out at the end: {[lane for lane in lanes if 'api' in str(lane)]}")
    well = result["completed"] == jobs and in_a_minute <= per_minute and same <= at_once and max(bills.values()) == 1 and len(bills) == jobs
    print("well" if well else "NOT WELL")
    sys.exit(not well)
finally:
    daemon.terminate()
    daemon.wait()
    shutil.rmtree(root)
