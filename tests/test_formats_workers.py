"""The pool of worker processes: no file, no crash and no hang can stop it, and nothing is left behind."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from formats_support import HANGING_SVG, PDF, corpora, docx, ends_only, files_of, odt, png, shared_bundle, zipped

from preservation.formats import workers
from preservation.formats.frames import framed
from preservation.formats.identification import Identification, Sample, identify_many
from preservation.formats.process import worker_command
from preservation.formats.workers import WorkerPool

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def pool():
    with WorkerPool(workers=1, bundle=shared_bundle().to_bytes) as shared:
        yield shared


def sample(name="a.pdf", content=PDF):
    return Sample.of_content(name, content)


def puids(answer):
    return [match.puid for match in answer.formats]


def gone(pid, seconds=10.0):
    """Wait until a process is no more; a zombie is no more."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize(
    ("name", "content", "puid", "basis"),
    [
        ("Quyết định.pdf", PDF, "fmt/18", "signature"),
        ("ảnh.png", png(), "fmt/11", "signature"),
        ("hồ sơ.zip", zipped(("a.txt", "text")), "x-fmt/263", "signature"),
        ("công văn.docx", docx(), "fmt/412", "container"),
        ("tờ trình.odt", odt(), "fmt/291", "container"),
        ("name\n\t\"'\\.pdf", PDF, "fmt/18", "signature"),
        ("not utf-8 \udcff\udcfe.pdf", PDF, "fmt/18", "signature"),
        ("x" * 255, PDF, "fmt/18", "signature"),
        ("a." + "y" * 250, PDF, "fmt/18", "signature"),
        ("table.csv", b"a,b\r\n1,2\r\n", "x-fmt/18", "extension"),
        ("empty.csv", b"", "x-fmt/18", "extension"),
    ],
)
def test_files_of_many_kinds_are_identified(pool, name, content, puid, basis):
    answer = pool.submit(sample(name, content)).result()
    assert answer.status == "identified"
    assert [(match.puid, match.basis) for match in answer.formats] == [(puid, basis)]
    assert {(match.tool, match.signatures) for match in answer.formats} == {("fido 1.6.1", shared_bundle().label)}
    assert ("known by the extension only" in answer.warnings) == (basis == "extension")


def test_what_nothing_fits_is_unidentified(pool):
    answer = pool.submit(sample("no extension", b"\0just bytes\n")).result()
    assert answer == Identification("unidentified")


def test_a_file_of_which_only_the_ends_are_sent_is_identified(pool):
    answer = pool.submit(ends_only("a.pdf", PDF[:10] + bytes(9 << 20) + PDF[-10:])).result()
    assert puids(answer) == ["fmt/18"]


def test_answers_are_as_many_as_questions_and_in_their_order(pool):
    asked = [
        sample(f"{number}.bin", [PDF, png(), docx(), b"", b"text", bytes(200_000)][number % 6]) for number in range(600)
    ]
    answers = list(identify_many(pool, asked))
    assert len(answers) == len(asked)
    assert answers == answers[:6] * 100
    assert [puids(answer) for answer in answers[:3]] == [["fmt/18"], ["fmt/11"], ["fmt/412"]]


def test_real_files_are_identified(pool):
    found = files_of(corpora("format-corpus"), 60)
    answers = list(identify_many(pool, (sample(path.name, path.read_bytes()) for path in found)))
    assert len(answers) == len(found)
    assert {answer.status for answer in answers} <= {"identified", "unidentified"}
    assert sum(answer.status == "identified" for answer in answers) > 45


def test_a_worker_stays_small(pool):
    pool.submit(sample("a.docx", docx(("big.bin", os.urandom(7 << 20))))).result()
    (pid,) = pool.pids()
    peak = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    assert int(peak.split()[1]) < 200 * 1024


def test_a_worker_may_not_write_files_nor_eat_memory(pool):
    pool.submit(sample()).result()
    limits = Path(f"/proc/{pool.pids()[0]}/limits").read_text()
    assert "Max address space         1073741824           1073741824" in limits
    assert "Max file size             0                    0" in limits


def test_a_file_on_which_the_tool_hangs_is_answered_timeout_and_the_others_are_answered():
    with WorkerPool(workers=1, deadline=1) as pool:
        pool.submit(sample()).result()
        (before,) = pool.pids()
        asked = [sample(), sample("a.svg", HANGING_SVG), sample("b.png", png())]
        answers = list(identify_many(pool, asked))
        assert [answer.status for answer in answers] == ["identified", "timeout", "identified"]
        assert answers[1].warnings == ("identification did not finish in time",)
        assert answers[1].formats == ()
        assert 700 < answers[1].milliseconds < 1000
        assert pool.pids() == (before,)


def test_a_worker_that_cannot_be_interrupted_is_killed_and_only_the_file_to_blame_goes_without_an_answer(tmp_path):
    command = hostile(
        tmp_path,
        """
        if sample.extension == "bad":
            time.sleep(60)
        say(GOOD)
        """,
    )
    names = ("a.pdf", "b.bad", "c.pdf", "d.pdf")
    with WorkerPool(workers=1, deadline=0.4, command=command) as pool:
        answers = list(identify_many(pool, [sample(name) for name in names]))
    assert [answer.status for answer in answers] == ["identified", "timeout", "identified", "identified"]


def test_a_worker_that_is_killed_in_the_middle_costs_no_answer():
    asked = [sample(f"{number}.pdf") for number in range(1000)]
    with WorkerPool(workers=1) as pool:
        futures = [pool.submit(one) for one in asked[:500]]
        futures[100].result()
        (victim,) = pool.pids()
        os.kill(victim, signal.SIGKILL)
        futures += [pool.submit(one) for one in asked[500:]]
        assert {tuple(puids(future.result())) for future in futures} == {("fmt/18",)}
        assert victim not in pool.pids()


def test_a_worker_that_is_stopped_counts_as_late():
    with WorkerPool(workers=1, deadline=0.5) as pool:
        pool.submit(sample()).result()
        os.kill(pool.pids()[0], signal.SIGSTOP)
        assert pool.submit(sample()).result().status == "timeout"
        assert pool.submit(sample()).result().status == "identified"


def test_work_is_shared_by_several_workers_when_there_is_enough_of_it():
    with WorkerPool(workers=2) as pool:
        assert pool.pids() == ()
        assert pool.submit(sample()).result().status == "identified"
        assert len(pool.pids()) == 1
        document = docx()
        futures = [pool.submit(sample(f"{number}.docx", document)) for number in range(4000)]
        assert len(pool.pids()) <= 2
        assert all(future.result().status == "identified" for future in futures)
        everyone = pool.pids()
        assert len(everyone) == 2
    assert all(gone(pid) for pid in everyone)


def test_closing_answers_what_is_open_and_leaves_no_process():
    pool = WorkerPool(workers=1, deadline=30)
    pool.submit(sample()).result()
    everyone = pool.pids()
    futures = [pool.submit(sample("a.svg", HANGING_SVG)) for _ in range(100)]
    time.sleep(0.2)
    before = time.monotonic()
    pool.close()
    assert time.monotonic() - before < 5
    assert {future.result() for future in futures} == {
        Identification("failed", warnings=("identification was stopped",))
    }
    assert pool.pids() == ()
    assert all(gone(pid) for pid in everyone)
    pool.close()
    assert pool.submit(sample()).result().status == "failed"


def test_an_answer_cannot_be_cancelled_under_the_pool(pool):
    owed = pool.submit(sample())
    assert not hasattr(owed, "cancel")
    assert puids(owed.result()) == ["fmt/18"]
    assert owed.done()


PROGRAM = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from preservation.formats.identification import Sample
from preservation.formats.process import worker_command
from preservation.formats.workers import WorkerPool
pool = WorkerPool(workers=1, deadline=30, command=worker_command(1))
print(pool.submit(Sample.of_content("a.pdf", b"%PDF-1.4\\n%%EOF")).result().formats[0].puid, pool.pids()[0], flush=True)
if sys.argv[2] == "hang":
    pool.submit(Sample.of_content("a.svg", os.read(0, 1 << 20)))
    time.sleep(0.2)
    print("asked", flush=True)
if sys.argv[2] != "end":
    time.sleep(60)
"""


def program(ending):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(ROOT), ending],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_a_program_that_ends_without_closing_leaves_no_process():
    with program("end") as running:
        puid, pid = running.stdout.readline().split()
        assert puid == "fmt/18"
        assert running.wait(10) == 0
    assert gone(int(pid))


def test_a_program_that_is_killed_leaves_no_process():
    with program("wait") as running:
        _, pid = running.stdout.readline().split()
        running.kill()
    assert gone(int(pid))


def test_a_program_that_is_killed_while_a_worker_hangs_leaves_no_process_for_long():
    with program("hang") as running:
        _, pid = running.stdout.readline().split()
        running.stdin.buffer.write(HANGING_SVG)
        running.stdin.flush()
        assert running.stdout.readline() == "asked\n"
        assert not gone(pid, seconds=0.1)
        running.kill()
    assert gone(int(pid))


def test_it_works_without_an_environment_and_in_a_folder_of_hostile_modules(tmp_path):
    for name in ("json", "sys", "re", "olefile", "fido", "preservation", "sitecustomize", "struct"):
        (tmp_path / f"{name}.py").write_text("import os; os.close(1); raise SystemExit('loaded')")
    command = worker_command(5)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path, env={}) as running:
        running.stdin.write(bytes(4))
        running.stdin.flush()
        length = int.from_bytes(running.stdout.read(4), "big")
        hello = running.stdout.read(length)
        running.stdin.close()
        assert running.wait(10) == 0
    assert json.loads(hello) == {"tool": "fido 1.6.1", "signatures": shared_bundle().label}


def hostile(tmp_path, body):
    """The command of a worker that greets well and then does what `body` says with each request's samples."""
    script = tmp_path / "worker.py"
    script.write_text(
        textwrap.dedent(
            """
            import os, signal, sys, time
            sys.path.insert(0, {root!r})
            from preservation.formats.frames import framed, read_bundle, read_request
            def say(value):
                sys.stdout.buffer.write(value if isinstance(value, bytes) else framed(value))
                sys.stdout.buffer.flush()
            def read(length):
                content = sys.stdin.buffer.read(length)
                if len(content) < length:
                    raise EOFError
                return content
            def one(answer):
                return {{"answers": [answer], "which": [0], "milliseconds": [0.1]}}
            GOOD = one({{"formats": [["fmt/18", "signature"]], "warnings": []}})
            read_bundle(read)
            say({{"tool": "t", "signatures": "s"}})
            while True:
                for sample in read_request(read):
            """
        ).format(root=str(ROOT))
        + textwrap.indent(textwrap.dedent(body), " " * 8)
    )
    return [sys.executable, str(script)]


@pytest.mark.parametrize(
    "crime",
    [
        "os.kill(os.getpid(), signal.SIGSEGV)",
        "say(b'\\xff\\xff\\xff\\xff')",
        "say(b'\\0\\0\\0\\x02{]')",
        "say({})",
        "say(one({'formats': [['../../etc', 'signature']], 'warnings': []}))",
        "say(one({'formats': [['fmt/18', 'magic']], 'warnings': []}))",
        "say(one({'formats': [], 'warnings': [1]}))",
        "say({**GOOD, 'which': [1]})",
        "say({**GOOD, 'which': [-1]})",
        "say({**GOOD, 'which': [0] * 9, 'milliseconds': [0.1] * 9})",
        "say({**GOOD, 'milliseconds': ['x']})",
        "say(b'\\0\\0\\0\\x40' + b'[' * 64)",
    ],
)
def test_a_file_of_which_two_workers_die_or_lie_is_failed_and_the_others_are_answered(tmp_path, crime):
    command = hostile(
        tmp_path,
        f"""
        if sample.extension == "bad":
            {crime}
            continue
        say(GOOD)
        """,
    )
    with WorkerPool(workers=1, command=command) as pool:
        answers = list(identify_many(pool, [sample(name) for name in ("a.pdf", "b.bad", "c.pdf")]))
    assert [answer.status for answer in answers] == ["identified", "failed", "identified"]
    assert answers[1].warnings == ("the identification tool crashed",)


def test_a_tool_that_fails_on_a_file_says_so_and_goes_on(tmp_path):
    command = hostile(tmp_path, "say(one({'failed': 'the identification tool failed: ValueError'}))")
    with WorkerPool(workers=1, command=command) as pool:
        answer = pool.submit(sample()).result()
    assert answer == Identification("failed", warnings=("the identification tool failed: ValueError",))


def test_a_worker_that_takes_no_bytes_is_replaced_and_then_given_up(tmp_path):
    command = hostile(tmp_path, "say(GOOD)")
    script = tmp_path / "worker.py"
    script.write_text(script.read_text().replace("while True:", "while not time.sleep(60):"))
    with WorkerPool(workers=1, deadline=0.3, command=command) as pool:
        answer = pool.submit(sample("a.zip", b"PK\3\4" + bytes(3 << 20))).result()
    assert answer == Identification("failed", warnings=("the identification tool crashed",))


@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "-c", "raise SystemExit(1)"],
        ["/nonexistent/program"],
        [sys.executable, "-c", "import sys; sys.stdout.write('nonsense' * 1000)"],
    ],
)
def test_a_tool_that_cannot_be_started_stops_nothing(command):
    with WorkerPool(workers=1, command=command) as pool:
        answers = list(identify_many(pool, [sample()] * 500))
    assert answers == [
        Identification("failed", warnings=("the identification tool could not be started",))
    ] * 500  # fmt: skip


def test_a_tool_that_cannot_work_tells_why():
    frame = framed({"failed": "the identification tool could not be started: no such file"})
    command = [sys.executable, "-c", f"import sys; sys.stdout.buffer.write({frame!r})"]
    with WorkerPool(workers=1, command=command) as pool:
        answer = pool.submit(sample()).result()
    assert answer.warnings == ("the identification tool could not be started: no such file",)


def test_asking_waits_while_too_much_is_in_flight(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "IN_FLIGHT_BYTES", 1 << 20)
    gate = tmp_path / "open"
    command = hostile(
        tmp_path,
        f"""
        while not os.path.exists({str(gate)!r}):
            time.sleep(0.01)
        say(GOOD)
        """,
    )
    with WorkerPool(workers=1, command=command) as pool:
        futures = []

        def ask():
            futures.extend(pool.submit(sample("a.bin", bytes(100_000))) for _ in range(30))

        asking = threading.Thread(target=ask)
        asking.start()
        time.sleep(0.5)
        assert 1 <= len(futures) <= 10
        assert asking.is_alive()
        gate.touch()
        asking.join(10)
        assert [future.result().status for future in futures] == ["identified"] * 30
        assert pool.submit(sample("large.bin", bytes(100_000))).result().status == "identified"


def test_a_sample_larger_than_all_that_may_be_in_flight_is_still_looked_at(monkeypatch, pool):
    monkeypatch.setattr(workers, "IN_FLIGHT_BYTES", 10)
    assert puids(pool.submit(sample()).result()) == ["fmt/18"]
