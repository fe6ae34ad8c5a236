"""The peer's side of the benchmark: pywhispercpp, one file after another, in a process of its own. Run by bench.py.

peer.py MODEL THREADS VAD_MODEL|- OUT FILE…: writes OUT/NAME.txt for each file. The settings are those Spindle listens with, as far as
the peer has them; each file is one call, as its documentation shows it.
"""

import sys
from pathlib import Path

from pywhispercpp.model import Model

model, threads, voice, out, *files = sys.argv[1:]
detector = {} if voice == "-" else {"vad": True, "vad_model_path": voice}
listener = Model(
    model,
    params_sampling_strategy=1,
    redirect_whispercpp_logs_to=None,
    context_params={"flash_attn": True},
    n_threads=int(threads),
    print_progress=False,
    language="en",
    beam_search={"beam_size": 5, "patience": -1.0},
    greedy={"best_of": 5},
    temperature=0.0,
    temperature_inc=0.2,
    entropy_thold=2.4,
    logprob_thold=-1.0,
    no_speech_thold=0.6,
    no_context=True,
    n_max_text_ctx=0,
    suppress_nst=True,
    **detector,
)
for file in map(Path, files):
    segments = listener.transcribe(str(file))
    (Path(out) / f"{file.stem}.txt").write_text("\n".join(segment.text for segment in segments), encoding="utf-8")
