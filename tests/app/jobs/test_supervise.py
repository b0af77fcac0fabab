from __future__ import annotations

import json
import sys
import textwrap
import time

import pytest

from spatialmeta_app.jobs.supervise import Outcome, start, supervise
from tests.app.jobs.conftest import gone, wait_for


@pytest.fixture
def child(tmp_path):
    """Supervise a child that runs *code*; gives the outcome and the lines."""

    def run(code: str, *, cancel_after: float | None = None, grace_s: float = 0.2):
        spec = tmp_path / "spec.json"
        spec.write_text("{}")
        program = "import json, os, signal, sys, time\ndef say(**l): print(json.dumps(l), flush=True)\n"
        command = [sys.executable, "-c", program + textwrap.dedent(code)]
        lines = []

        def cancelled():
            return cancel_after is not None and len(lines) > 0 and time.monotonic() > begun[0] + cancel_after

        begun = [time.monotonic()]
        outcome = supervise(spec, lines.append, cancelled, grace_s=grace_s, child=start(spec, command=command))
        return outcome, lines

    return run


def test_lines_are_relayed_in_order_and_rubbish_is_dropped(child, tmp_path):
    outcome, lines = child(
        """
        for i in range(100): say(type="progress", fraction=i / 100)
        print("rubbish"); print("[1, 2]"); print('{"no": "type"}')
        say(type="done", result="r")
        print("for the log", file=sys.stderr)
        """
    )
    assert outcome == Outcome("done", result="r", returncode=0)
    assert [line["fraction"] for line in lines] == [i / 100 for i in range(100)]
    assert "for the log" in (tmp_path / "log.txt").read_text()


def test_a_crash_without_a_word_is_a_death(child):
    outcome, _ = child("os.kill(os.getpid(), signal.SIGSEGV)")
    assert outcome.state == "died"
    assert "SIGSEGV" in outcome.error
    assert child("sys.exit(7)")[0].error == "its process ended with code 7 and no answer"


def test_an_error_is_a_failure(child):
    assert child('say(type="error", message="no")')[0] == Outcome("failed", error="no", returncode=0)


def test_a_child_that_saves_gets_more_time_and_its_result_counts(child):
    code = """
        say(type="progress")
        sys.stdin.readline(); say(type="saving"); time.sleep(1.5); say(type="done", result="best", stopped=True)
        """
    outcome, _ = child(code, cancel_after=0.0, grace_s=0.5)  # 1.5 s: longer than who does not save is given
    assert outcome == Outcome("done", result="best", stopped=True, returncode=0)


def test_a_child_that_says_saving_for_ever_is_killed(child):
    code = """
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        say(type="progress"); sys.stdin.readline(); say(type="saving"); time.sleep(60)
        """
    outcome, _ = child(code, cancel_after=0.0, grace_s=0.2)
    assert outcome.state == "cancelled"
    assert outcome.returncode == -9


def test_grandchildren_end_with_the_child(child):
    code = """
        import subprocess
        process = subprocess.Popen(["sleep", "60"])
        say(type="progress", pid=process.pid); say(type="done", result=None)
        """
    outcome, lines = child(code)
    assert outcome.state == "done"
    wait_for(lambda: gone(lines[0]["pid"]))


def test_a_child_that_does_not_end_after_its_last_word_is_killed(child, monkeypatch):
    outcome, _ = child(
        """
        say(type="done", result="r"); os.close(1); time.sleep(60)
        """
    )
    assert outcome.state == "done"
    assert outcome.returncode == -9


def test_a_spare_is_told_the_spec(tmp_path):
    spec = tmp_path / "spec.json"
    spec.write_text("{}")
    code = "import json, sys; print(json.dumps({'type': 'done', 'result': json.loads(input())['spec']}), flush=True)"
    spare = start(command=[sys.executable, "-c", code])
    outcome = supervise(spec, print, lambda: False, child=spare, warm=True)
    assert outcome.result == str(spec)
    assert json.loads(spec.read_text()) == {}
