"""Presses the stop button in a real kernel: `kernel.py await|block TIMES`, and says what is left of the run."""

import os
import sys

from jupyter_client.manager import KernelManager

kind, times = sys.argv[1], int(sys.argv[2])
PREPARE = f"""
import optuna
from support import SPACE, sampler
from optuna_llm import optimize, optimize_async
study = optuna.create_study(sampler=sampler())

def objective(trial):
    if trial.number == 3:
        print("READY", flush=True)
    if trial.number >= 2:
        trial.cancelled.wait({3600 if times > 1 else 1.0})
    return trial.params["momentum"]

options = dict(n_trials=50, n_workers=2, search_space=SPACE, grace=3600)
"""
RUN = {"await": "await optimize_async(study, objective, **options)", "block": "optimize(study, objective, **options)"}
LEFT = "import asyncio; await asyncio.sleep(0); print('left', sorted(trial.state.name for trial in study.trials))"


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def run(code: str) -> None:
    """Run a cell, and press the button when two trials run, and again when that is heard."""
    cell, pressed = client.execute(code), 0
    while True:
        message = client.get_iopub_msg(timeout=300)
        content = message["content"]
        if message["msg_type"] == "stream":
            say(content["text"])
            if pressed < times and ("READY" in content["text"] or "no more trials" in content["text"]):
                pressed += 1
                manager.interrupt_kernel()
        elif message["msg_type"] == "error":
            say(f"error {content['ename']}")
        elif content.get("execution_state") == "idle" and message["parent_header"].get("msg_id") == cell:
            return


manager = KernelManager(kernel_name="python3")
manager.start_kernel(env=dict(os.environ))
client = manager.blocking_client()
client.start_channels()
try:
    client.wait_for_ready(timeout=300)
    for code in (PREPARE, RUN[kind], LEFT):
        run(code)
finally:
    client.stop_channels()
    manager.shutdown_kernel(now=True)
