"""A child that follows the protocol of jobs and plays what its config says; and a runner that starts such children.

``python play.py child [SPEC]`` and ``python play.py runner DATA``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path


def say(**line) -> None:
    print(json.dumps(line), flush=True)


def child(arguments: list[str]) -> None:
    path = Path(arguments[0] if arguments else json.loads(sys.stdin.readline())["spec"])
    spec = json.loads(path.read_text())
    config, folder = spec["config"], path.parent
    with open(folder / "pids.txt", "a") as file:
        file.write(f"{os.getpid()}\n")
    asked = threading.Event()
    if not config.get("deaf"):
        threading.Thread(target=listen, args=(asked,), daemon=True).start()
    if config.get("ignore_term"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(config.get("imports", 0.0))
    print("a word for the log", file=sys.stderr, flush=True)
    print("this is no JSON", flush=True)
    if spec["attempt"] <= config.get("die_in_attempts", 0):
        os.kill(os.getpid(), signal.SIGKILL)
    work(spec, folder, asked)


def work(spec: dict, folder: Path, asked: threading.Event) -> None:
    config = spec["config"]
    state = folder / "checkpoints" / "epoch.txt"
    state.parent.mkdir(exist_ok=True)
    begin = int(state.read_text()) if state.exists() else 0
    for epoch in range(begin, config.get("epochs", 1)):
        if asked.is_set():
            say(type="cancelled")
            return
        say(
            type="progress",
            fraction=epoch / config.get("epochs", 1),
            message="training",
            numbers={"loss": 1.0, "epoch": epoch},
        )
        time.sleep(config.get("pause", 0.0))
        state.write_text(str(epoch + 1))
    while config.get("wait"):
        if asked.is_set() and not config.get("deaf"):
            say(type="cancelled")
            return
        time.sleep(0.02)
    if config.get("error"):
        say(type="error", message=config["error"])
        sys.exit(1)
    say(type="done", result=f"attempt {spec['attempt']}")


def listen(asked: threading.Event) -> None:
    for line in sys.stdin:
        if line.strip() == "cancel":
            asked.set()
    os._exit(1)


def runner(data: str) -> None:
    from spatialmeta_app.config import Settings
    from spatialmeta_app.jobs.engines import LocalEngine
    from spatialmeta_app.jobs.runner import Runner, locked

    settings = Settings(data=Path(data), min_free_bytes=0, demo=False)
    with locked(settings) as lock:
        if lock is None:
            sys.exit(3)
        runner = Runner(settings, LocalEngine(spare=False, command=COMMAND))
        signal.signal(signal.SIGTERM, lambda *_: runner.stop())
        print("ready", flush=True)
        runner.run()


COMMAND = (sys.executable, __file__, "child")

if __name__ == "__main__":
    {"child": child, "runner": lambda a: runner(*a)}[sys.argv[1]](sys.argv[2:])
