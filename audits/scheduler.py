"""The clock: does every duty when it is due, for ever in the foreground or once for cron.

Nothing runs twice at once, not in two processes either; what fails is told, tried again later and stops nothing else;
what was missed is done once. The repository is opened for each piece of work and not held between, so that people can
work beside it.
"""

import os
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime

from audits.duties import DUTIES, Duty, Result, Watch, look_at_clock
from audits.heartbeat import read_heartbeat, write_heartbeat
from audits.metrics import listening
from audits.notifications import tell
from preservation.ledger.errors import LedgerBusyError
from preservation.ledger.files import locked
from preservation.replication import Replicated
from preservation.repository import NotPermittedError, Repository
from preservation.stopping import StoppedError
from storage_backends.errors import MocbanError, marked

EVERY_SECONDS = 300
"""How often the service looks whether anything is due."""

BEAT_SECONDS = 30.0
"""How often it says that it is alive while it works."""

ROUNDS = 10_000
"""The most rounds in which slices of an audit follow one another, before the service looks up."""

LOCK_FILE = "service.lock"

LOCK_SECONDS = 5.0
"""How long a service waits for another one to end, which may be stopping."""

AWAKE_SECONDS = 0.5
"""A signal that comes just before a wait begins is heard only when the wait ends; so none is long."""

TELLING = "notify"
"""The name under which a failure to tell people is kept."""


class AlreadyServingError(LedgerBusyError):
    """Another service is at work on this repository; this one did nothing."""

    template = marked("{place}: another 'mocban serve' is at work here; nothing was done")


class WorkFailedError(MocbanError):
    """A piece of work failed in a way that nobody foresaw."""

    template = marked("The program failed: {reason}")


def machine_clock() -> tuple[str, float]:
    """Return an identifier of this start of the machine, and the seconds since then, which follow no clock."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip(), time.clock_gettime(time.CLOCK_BOOTTIME)


def serve(
    open_repository: Callable[[], Repository],
    *,
    once: bool,
    stopping: threading.Event,
    told: Callable[[str, Result], None],
    failed: Callable[[str, MocbanError], None],
    machine: Callable[[], tuple[str, float]] | None = machine_clock,
) -> None:
    """Do what is due, once or again and again until ``stopping`` is set.

    ``told`` hears of each piece of work, ``failed`` of each that could not be done; the service goes on after that.

    Raises:
        AlreadyServingError: another service is at work.
        StoppedError: told to stop, if ``once``.
    """
    repository = open_repository()
    if not os.access(repository.staging, os.W_OK):
        raise NotPermittedError(place=repository.path)
    lock = locked(os.path.join(repository.staging, LOCK_FILE), min(LOCK_SECONDS, repository.world.wait_seconds))
    with ExitStack() as stack:
        try:
            stack.enter_context(lock)
        except LedgerBusyError as error:
            raise AlreadyServingError(place=repository.path) from error
        watch = Watch(open_repository, told, failed, read_heartbeat(repository), once=once, machine=machine)
        if once:
            run_due(watch)
            return
        if address := repository.configuration.metrics.listen:
            try:
                stack.enter_context(listening(open_repository, address))
            except MocbanError as error:
                failed("metrics", error)
        _go_on(watch, stopping)


def _go_on(watch: Watch, stopping: threading.Event) -> None:
    """Come round again and again."""
    from apscheduler.schedulers.background import BackgroundScheduler  # noqa: PLC0415 - costs every start 100 ms

    def work() -> None:
        try:
            run_due(watch)
        except StoppedError:
            stopping.set()

    scheduler = BackgroundScheduler(timezone="UTC")
    scheduler.add_job(
        work,
        "interval",
        seconds=EVERY_SECONDS,
        next_run_time=datetime.now().astimezone(),
        max_instances=1,
        coalesce=True,
        misfire_grace_time=None,
    )
    scheduler.start()
    try:
        while not stopping.wait(AWAKE_SECONDS):
            pass
    finally:
        scheduler.shutdown(wait=True)  # what is under way ends first: whoever sees us gone may begin the next service


def run_due(watch: Watch) -> list[str]:
    """Do what is due now, slices of audits until no more is; return the names of what was done, in order.

    Raises:
        StoppedError: told to stop; what was done is recorded.
    """
    watch.beat = _beating(watch)
    done: list[str] = []
    for _ in range(ROUNDS):
        repository = _usable(watch)
        _beat(watch, comes_round=True)
        if repository is None:
            break
        found = [duty.name for duty in DUTIES if _is_done(watch, duty, repository)]
        done += found
        if "audit" not in found:
            break
    _beat(watch, comes_round=True)
    return done


def _usable(watch: Watch) -> Repository | None:
    """Return the repository if its catalog can be read; that it cannot is one failure, not one of each duty."""
    try:
        repository = watch.repository = watch.open()
        _check_stop(repository)
        if not watch.heartbeat.may_try("repository", repository.world.now()):
            return None
        with repository.reading():
            pass
    except StoppedError:
        raise
    except MocbanError as error:
        _note(watch, "repository", error)
        return None
    watch.heartbeat.failures.pop("repository", None)
    return repository


def _is_done(watch: Watch, duty: Duty, repository: Repository) -> bool:
    """Do a duty if it is due and did not fail just now; tell whether it was done."""
    result: Result | MocbanError
    try:
        _check_stop(repository)
        repository.ledger.refresh()
        if not watch.heartbeat.may_try(duty.name, repository.world.now()) or not duty.is_due(repository, watch):
            return False
        watch.heartbeat.doing = duty.name
        _beat(watch)
        result = duty.do(watch.open(), watch)
    except StoppedError:
        raise
    except MocbanError as error:
        result = error
    except Exception as error:  # noqa: BLE001 - whatever one duty meets, the others go on
        result = WorkFailedError(reason=f"{type(error).__name__}: {error}")
    watch.heartbeat.doing = ""
    _note(watch, duty.name, result)
    return not isinstance(result, MocbanError)


def _check_stop(repository: Repository) -> None:
    if repository.world.stopping():
        raise StoppedError


def _note(watch: Watch, name: str, result: Result | MocbanError) -> None:
    """Remember what became of a duty, and tell it; an error of the telling is told here."""
    failure = result if isinstance(result, MocbanError) else _fruitless(result)
    if isinstance(result, MocbanError):
        watch.failed(name, result)
    else:
        watch.told(name, result)
    repository = watch.repository
    if repository is None:
        return  # it was never open; that was told
    now = repository.world.now()
    if failure is None:
        watch.heartbeat.succeeded(name, now)
    else:
        watch.heartbeat.failed(name, failure, now)
    try:
        tell(repository, name, result)
        watch.heartbeat.failures.pop(TELLING, None)
    except Exception as error:  # noqa: BLE001 - nobody could be told; what there is to tell waits
        unheard = (
            error if isinstance(error, MocbanError) else WorkFailedError(reason=f"{type(error).__name__}: {error}")
        )
        if TELLING not in watch.heartbeat.failures:
            watch.failed(TELLING, unheard)
        watch.heartbeat.failed(TELLING, unheard, now)
    _beat(watch)


def _fruitless(result: Result) -> MocbanError | None:
    """Return why work that was done brought nothing, so that it is not tried again at once."""
    return next(iter(result.failures.values()), None) if isinstance(result, Replicated) else None


def _beating(watch: Watch) -> Callable[[], None]:
    last = [float("-inf")]
    lock = threading.Lock()

    def beat() -> None:
        if time.monotonic() - last[0] >= BEAT_SECONDS and lock.acquire(blocking=False):
            try:
                last[0] = time.monotonic()
                _beat(watch)
            finally:
                lock.release()

    return beat


def _beat(watch: Watch, *, comes_round: bool = False) -> None:
    """Say that the service is alive."""
    repository = watch.repository
    if repository is None:
        return
    look_at_clock(watch, repository.world.now())
    heartbeat = watch.heartbeat
    heartbeat.mode = "once" if watch.once else "serve"
    if comes_round or not heartbeat.round:
        heartbeat.round = heartbeat.alive
    write_heartbeat(repository.staging, heartbeat)
