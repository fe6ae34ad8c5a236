"""Makes the benchmark's recordings and their texts from evaluation recordings; the same ones for the same seed.

FOLDER holds NAME.wav (16 kHz, mono, 16 bit) and NAME.txt, whose lines are "start TAB end TAB words".
"""

import random
import wave
from pathlib import Path

RATE = 16_000


class Recording:
    """Samples as bytes, and the phrases in them: start and end in seconds, words."""

    def __init__(self, samples, phrases):
        self.samples, self.phrases = samples, phrases

    @property
    def seconds(self):
        return len(self.samples) / 2 / RATE

    @staticmethod
    def read(path):
        with wave.open(str(path)) as file:
            shape = (file.getframerate(), file.getnchannels(), file.getsampwidth())
            if shape != (RATE, 1, 2):
                raise SystemExit(f"{path}: 16 kHz, mono, 16 bit is needed, not {shape}")
            samples = file.readframes(file.getnframes())
        lines = path.with_suffix(".txt").read_text(encoding="utf-8").splitlines()
        fields = [line.split("\t") for line in lines if line.strip()]
        return Recording(samples, [(float(start), float(end), words) for start, end, words in fields])

    def cut(self, start, end):
        """The stretch between two seconds, of which both lie in pauses."""
        first, last = (int(second * RATE) * 2 for second in (start, end))
        phrases = [(a - start, b - start, words) for a, b, words in self.phrases if start <= a and b <= end]
        return Recording(self.samples[first:last], phrases)

    def cuts(self):
        """Where it may be cut: its ends, and the middles of its pauses."""
        pauses = zip(self.phrases, self.phrases[1:])
        return [0.0, *((before[1] + after[0]) / 2 for before, after in pauses), self.seconds]

    def joined(self, other):
        moved = [(a + self.seconds, b + self.seconds, words) for a, b, words in other.phrases]
        return Recording(self.samples + other.samples, self.phrases + moved)

    def write(self, path):
        with wave.open(str(path), "wb") as file:
            file.setframerate(RATE)
            file.setnchannels(1)
            file.setsampwidth(2)
            file.writeframes(self.samples)
        lines = (f"{a:.2f}\t{b:.2f}\t{words}\n" for a, b, words in self.phrases)
        path.with_suffix(".txt").write_text("".join(lines), encoding="utf-8")


def clips(sources, count, rng):
    """`count` stretches of 3 to 12 s, no two alike."""
    possible = []
    for source in sources:
        cuts = source.cuts()
        possible += [(source, a, b) for a in cuts for b in cuts if 3 <= b - a <= 12]
    rng.shuffle(possible)
    if len(possible) < count:
        raise SystemExit(f"the evaluation recordings give {len(possible)} clips only")
    return [source.cut(a, b) for source, a, b in possible[:count]]


def long(sources, seconds, rng):
    """Recordings one after another until it is this long, cut in a pause."""
    whole = Recording(b"", [])
    while whole.seconds < seconds:
        for source in rng.sample(sources, len(sources)):
            whole = whole.joined(source)
    return whole.cut(0.0, max(cut for cut in whole.cuts() if cut <= seconds))


def make(folder, out, seed):
    """Makes the three sets under `out`; gives their names and files."""
    names = sorted(path for path in Path(folder).glob("*.wav") if path.with_suffix(".txt").exists())
    sources = [recording for recording in map(Recording.read, names) if recording.phrases]
    if not sources:
        raise SystemExit(f"{folder} holds no recordings with texts")
    rng = random.Random(seed)
    minutes = [source for source in sources if source.seconds < 60]
    sets = {
        "100 short clips": clips(sources, 100, rng),
        "one of 30 minutes": [long(sources, 1_800, rng)],
        "four of 1 minute": [long(minutes, 60, rng) for _ in range(4)],
    }
    made = {}
    for number, (name, recordings) in enumerate(sets.items()):
        place = Path(out) / f"set{number}"
        place.mkdir(parents=True, exist_ok=True)
        made[name] = [place / f"{at:03}.wav" for at in range(len(recordings))]
        for path, recording in zip(made[name], recordings):
            recording.write(path)
    return made
