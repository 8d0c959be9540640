"""Notifications: told once, told again when it is urgent, told when it is over; and nobody is told by accident."""

import hmac
import json
import os
import re
import time
from datetime import timedelta

import pytest
from cli_support import mocban
from kept_support import brought_back
from notify_support import certificate, mail_server, webhook
from repository_support import audit, flip, made, pack_file, pack_rows, submit_files
from sizes import ALL

from audits import delivery, notifications
from audits.coverage import Scope
from audits.delivery import Message, RefusedError, mail_bytes
from audits.findings import Code, Finding
from audits.incidents import Reason, close, follow, incidents
from audits.notifications import UndeliveredError, tell
from commands.wording import in_language
from preservation.configuration import ConfigurationError
from preservation.evidence import push
from preservation.replication import replicate
from preservation.repository import World
from preservation.stores import all_open, attached
from storage_backends.errors import StoreFullError

LATE = ("verification-late", "verification-overdue")


def beginning(folder):
    place = made(folder)
    submit_files(place, {"Đơn khiếu nại của ông A.txt": b"1" * 1000}, name="one")
    submit_files(place, {"two.txt": b"2" * 1000}, name="two")
    return place


@pytest.fixture
def place(tmp_path_factory):
    return brought_back(beginning, tmp_path_factory)


@pytest.fixture
def box(place):
    with mail_server() as box:
        notify(place, smtp=f"smtp://127.0.0.1:{box.port}", sender="luutru@example.vn", recipients=["it@example.vn"])
        yield box


def notify(place, **values):
    """Change the configuration, and bring it to the stores, so that audits do not miss it there."""
    path = place.folder / "repo" / "mocban.toml"
    before, head, rest = path.read_text().partition("[notify]")
    for key, value in values.items():
        (old,) = re.findall(rf"^{key} = .*$", rest.partition("\n[")[0], flags=re.MULTILINE)
        rest = rest.replace(old, f"{key} = {json.dumps(value)}", 1)
    path.write_text(before + head + rest)
    repository = place.open()
    with repository.reading() as view, all_open(attached(view)) as stores:
        push(repository, stores)


def opened(place):
    repository = place.open()
    world = World(**{name: getattr(place.world, name) for name in ("now", "random", "agent")}, translated=in_language)
    object.__setattr__(repository, "world", world)
    return repository


def ran(place, *, repair=False):
    """Audit, follow incidents and tell, as the service does."""
    report = audit(place, repair=repair)
    follow(place.open(), report, Scope())
    tell(opened(place), "audit", report)
    return report


def spoil(place, store="a", count=None):
    for row in pack_rows(place)[:count]:
        flip(pack_file(place, store, row), 700)


def subjects(box):
    return [mail["Subject"] for _, _, mail, _, _ in box.mails]


def text(mail):
    return mail.get_content().replace("\r\n", "\n")


def away(place, store):
    place.store(store).rename(place.folder / f"{store} away")


def back(place, store):
    (place.folder / f"{store} away").rename(place.store(store))


# ---- what is told, and when --------------------------------------------------------------------------------------


def test_the_first_message_says_that_all_is_well_and_then_there_is_silence(place, box):
    ran(place)
    for _ in range(3):
        place.clock.pass_by(days=1)
        ran(place)

    assert 1 == len(box.mails)
    assert "all is well" in subjects(box)[0] or "new warnings" in subjects(box)[0]


def test_after_a_week_of_silence_a_message_says_that_all_runs(place, box):
    ran(place)
    for _ in range(15):
        place.clock.pass_by(days=1)
        ran(place)

    assert 3 == len(box.mails)
    assert subjects(box)[-1].endswith("all is well")


def test_without_all_well_days_silence_is_for_ever(place, box):
    notify(place, all_well_days=0)
    ran(place)
    box.mails.clear()
    for _ in range(4):
        place.clock.pass_by(days=300)
        ran(place)

    assert [] == box.mails


def test_what_is_wrong_is_told_once_and_not_by_every_run(place, box):
    ran(place)
    box.mails.clear()
    spoil(place)
    for _ in range(10):
        ran(place)
        place.clock.pass_by(minutes=5)

    ((sender, recipients, mail, _, _),) = box.mails
    assert ("luutru@example.vn", ["it@example.vn"]) == (sender, recipients)
    assert mail["Subject"].endswith("có vấn đề mới: 1 / new problems: 1") or "new problems: 1" in mail["Subject"]
    assert "- copy-damaged (store a): 2: a copy's bytes are not what they should be" in text(mail)
    assert "next: mocban repair" in text(mail)
    assert "auto-generated" == mail["Auto-Submitted"]


def test_a_message_has_no_file_names_and_no_titles(place, box):
    (place.store("a") / "packs" / "Nguyễn Văn A.tar").write_bytes(b"not ours")
    spoil(place)
    ran(place)

    for _, _, mail, _, _ in box.mails:
        for name in ("Nguyễn", "khiếu nại", "one.txt", "Hồ sơ địa chính"):
            assert name not in text(mail) + mail["Subject"]


def test_twice_as_much_is_told_again(place, box):
    spoil(place, count=1)
    ran(place)
    box.mails.clear()
    spoil(place)
    spoil(place, count=1)
    ran(place)
    ran(place)

    assert 1 == len(box.mails)
    assert "Worse than before:" in text(box.mails[0][2])


def test_what_is_unresolved_is_told_again_louder_and_ever_more_rarely(place, box):
    notify(place, all_well_days=0)
    spoil(place)
    ran(place)
    box.mails.clear()
    days, begun = [], place.clock.now
    for day in range(1, 60) if ALL else (1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 23, 24, 25, 47, 48, 49):
        place.clock.now = begun + timedelta(days=day)
        ran(place)
        if box.mails:
            days.append(day)
            assert "URGENT" in subjects(box)[0]
            assert "high" == box.mails[0][2]["Importance"]
            box.mails.clear()

    assert [3, 6, 12, 24, 48] == days


def test_a_repair_brings_a_notice_of_recovery(place, box):
    spoil(place)
    ran(place)
    box.mails.clear()
    ran(place, repair=True)
    ran(place, repair=True)

    (mail,) = [mail for _, _, mail, _, _ in box.mails]
    assert mail["Subject"].endswith("resolved: 2"), text(mail)
    resolved = text(mail).split("\nResolved:\n")[1].split("\n\n")[0]
    assert "- copy-damaged (store a): 2:" in resolved
    assert "- under-replicated: 2:" in resolved
    assert "next:" not in resolved


def test_damage_that_was_healed_at_once_is_told_once(place, box):
    ran(place)
    box.mails.clear()
    spoil(place)
    ran(place, repair=True)
    ran(place, repair=True)

    assert 1 == len(box.mails)
    assert subjects(box)[0].endswith("damage found and healed: 1")


def test_a_dying_disk_that_is_healed_again_and_again_is_told_once_a_day(place, box):
    ran(place)
    box.mails.clear()
    for _ in range(12):
        spoil(place, count=1)
        ran(place, repair=True)
        place.clock.pass_by(hours=4)
    spoil(place, count=1)
    ran(place, repair=True)

    assert ["healed: 1", "healed: 1", "healed: 1"] == [subject.rpartition("and ")[2] for subject in subjects(box)]
    assert "- copy-damaged (store a): 6: " in text(box.mails[1][2])


def test_copies_that_are_late_are_told_before_they_are_overdue(place, box):
    notify(place, all_well_days=0)
    ran(place)
    box.mails.clear()
    for _ in range(12):
        place.clock.pass_by(days=8)
        tell(opened(place), "inventory", [])

    told = [text(mail).split("\n--\n")[1].split("Still open")[0] for _, _, mail, _, _ in box.mails]
    late, overdue = ([number for number, one in enumerate(told) if f"- {code} (store a)" in one] for code in LATE)
    assert late[0] < overdue[0]
    assert len(told) <= 6


def test_what_a_person_explains_is_over_and_stays_silent(place, box):
    notify(place, all_well_days=0)
    away(place, "b")
    ran(place)
    with place.open().reading() as view:
        (row,) = incidents(view)
    close(place.open(), row.incident, Reason.PLANNED)
    box.mails.clear()
    for _ in range(20):
        place.clock.pass_by(days=1)
        ran(place)
        tell(opened(place), "replicate", replicate(place.open(), lambda *_: None))

    assert 1 == len(box.mails)
    assert subjects(box)[0].endswith("resolved: 1")


def test_a_store_that_is_away_is_told_once_by_audit_and_replication_together(place, box):
    ran(place)
    box.mails.clear()
    away(place, "b")
    ran(place)
    tell(opened(place), "replicate", replicate(place.open(), lambda *_: None))

    assert 1 == len(box.mails)
    assert "copy-unreadable" not in text(box.mails[0][2])


def test_replication_that_fails_is_told_and_so_is_its_end(place, box):
    away(place, "b")
    submit_files(place, {"three": b"3"}, name="three")
    tell(opened(place), "replicate", replicate(place.open(), lambda *_: None))
    assert "replication-failed (store b)" in text(box.mails[0][2])
    assert "under-replicated" in text(box.mails[0][2])
    back(place, "b")
    tell(opened(place), "replicate", replicate(place.open(), lambda *_: None))

    assert 2 == len(box.mails)
    assert subjects(box)[1].endswith("resolved: 2")


def test_work_that_fails_is_told_by_the_name_of_the_error_only(place, box):
    error = StoreFullError(place="Đơn khiếu nại", needed=1, free=0, reserve=0)
    tell(opened(place), "report", error)
    tell(opened(place), "report", error)
    assert 1 == len(box.mails)
    assert "StoreFullError" in text(box.mails[0][2])
    assert "khiếu nại" not in text(box.mails[0][2])
    tell(opened(place), "audit", [])
    assert 1 == len(box.mails)
    tell(opened(place), "report", None)
    assert subjects(box)[1].endswith("resolved: 1")


def test_findings_of_other_work_are_told_and_end_with_that_work_only(place, box):
    tell(opened(place), "look", [Finding(Code.INDEX_MISSING, pack="f" * 64)])
    tell(opened(place), "audit", [])
    assert 1 == len(box.mails)
    tell(opened(place), "look", [])
    assert subjects(box)[1].endswith("resolved: 1")


def test_a_message_is_vietnamese_first_and_english_second(place, box):
    spoil(place)
    ran(place)
    first, second = text(box.mails[0][2]).split("\n--\n")
    assert "Repository: " in second
    assert first.strip()


def test_the_same_without_a_configuration_does_nothing_at_all(place):
    ran(place)
    assert not [name for name in os.listdir(place.open().staging) if name.startswith("notif")]


# ---- the webhook -------------------------------------------------------------------------------------------------


def test_the_webhook_gets_signed_json(place):
    secret = place.folder / "secret"
    secret.write_text("a secret of sufficient length\n")
    secret.chmod(0o600)
    with webhook() as hook:
        notify(place, webhook=f"http://127.0.0.1:{hook.port}/in?team=it", webhook_secret_file=str(secret))
        spoil(place)
        ran(place)

    ((path, headers, body),) = hook.posts
    assert "/in?team=it" == path
    expected = hmac.new(b"a secret of sufficient length", body, "sha256").hexdigest()
    assert f"sha256={expected}" == headers["X-Mocban-Signature"]
    told = json.loads(body)
    assert ("problem", "audit", 3, 1) == (told["kind"], told["work"], told["status"], told["format"])
    assert place.open().configuration.repository == told["repository"]
    (damage,) = [one for one in told["new"] if one["severity"] == "error"]
    assert ("copy-damaged", "a", 2, ["mocban", "repair"]) == tuple(
        damage[key] for key in ("code", "store", "count", "next")
    )
    assert damage["incident"]
    assert 2 == told["figures"]["damaged"]


@pytest.mark.parametrize(
    "behaviour",
    [
        {"status": 302, "location": "http://127.0.0.1:1/elsewhere"},
        {"status": 500},
        {"status": 404},
        {"status": 500, "endless": True},
    ],
)
def test_any_answer_but_success_is_a_failure_and_no_redirection_is_followed(place, behaviour):
    with webhook(**behaviour) as hook:
        notify(place, webhook=f"http://127.0.0.1:{hook.port}/")
        with pytest.raises(UndeliveredError) as failure:
            ran(place)
    assert 1 == len(hook.posts)
    assert f"HTTP status {behaviour['status']}" in str(failure.value)
    assert "elsewhere" not in str(failure.value)


def test_an_endless_answer_that_is_a_success_is_one(place):
    with webhook(status=200, endless=True) as hook:
        notify(place, webhook=f"http://127.0.0.1:{hook.port}/")
        ran(place)
    assert 1 == len(hook.posts)


def test_a_webhook_over_tls_must_have_the_right_certificate(place, tmp_path):
    right, context = certificate(tmp_path)
    wrong, _ = certificate(tmp_path, "elsewhere.example")
    with webhook(tls=context) as hook:
        notify(place, webhook=f"https://localhost:{hook.port}/", ca_file=str(wrong))
        with pytest.raises(UndeliveredError, match="certificate verify failed"):
            ran(place)
        assert [] == hook.posts
        notify(place, ca_file=str(right))
        tell(opened(place), "nothing", None)
        assert 1 == len(hook.posts)


@pytest.mark.parametrize("behaviour", [{"hang": True}, {"drip": True}])
def test_a_webhook_that_never_ends_its_answer_is_left(place, monkeypatch, behaviour):
    monkeypatch.setattr(delivery, "SECONDS", 0.5)
    with webhook(**behaviour) as hook:
        notify(place, webhook=f"http://127.0.0.1:{hook.port}/")
        began = time.monotonic()
        with pytest.raises(UndeliveredError):
            ran(place)
        assert time.monotonic() - began < 5


# ---- the mail server ---------------------------------------------------------------------------------------------


def test_mail_goes_over_tls_where_it_is_offered_and_the_password_with_it(place, tmp_path):
    pem, context = certificate(tmp_path)
    password = tmp_path / "password"
    password.write_text("pass: word \n")
    password.chmod(0o600)
    for scheme, immediately in (("smtp", False), ("smtps", True)):
        with mail_server(tls=context, immediately=immediately) as box:
            notify(
                place,
                smtp=f"{scheme}://localhost:{box.port}",
                sender="a@example.vn",
                recipients=["b@example.vn", "c@example.vn"],
                username="luutru",
                password_file=str(password),
                ca_file=str(pem),
            )
            said = mocban("-C", place.path, "notify", "test")
            assert (0, "mail: delivered\n") == (said.status, said.out), said.err
        ((_, recipients, mail, secure, user),) = box.mails
        assert ["b@example.vn", "c@example.vn"] == recipients
        assert (True, "luutru:pass: word") == (secure, user)
        assert "test message" in mail["Subject"]


def test_a_wrong_certificate_is_never_passed_by(place, tmp_path):
    _, context = certificate(tmp_path)
    with mail_server(tls=context) as box:
        notify(place, smtp=f"smtp://localhost:{box.port}", sender="a@example.vn", recipients=["b@example.vn"])
        with pytest.raises(UndeliveredError, match="certificate verify failed"):
            ran(place)
    assert [] == box.mails
    assert not [line for line in box.said if line.startswith("MAIL")]


def test_a_password_is_never_sent_without_tls(place, tmp_path):
    password = tmp_path / "password"
    password.write_text("secret")
    password.chmod(0o600)
    with mail_server() as box:
        notify(place, smtp=f"smtp://localhost:{box.port}", sender="a@example.vn", recipients=["b@example.vn"])
        notify(place, username="luutru", password_file=str(password))
        with pytest.raises(UndeliveredError, match="no TLS"):
            ran(place)
    assert not [line for line in box.said if line.startswith("AUTH")]


def test_a_secret_that_others_may_read_is_refused(place, box, tmp_path):
    password = tmp_path / "password"
    password.write_text("secret")
    password.chmod(0o644)
    notify(place, username="luutru", password_file=str(password))
    with pytest.raises((UndeliveredError, ConfigurationError), match="others may read"):
        ran(place)
    assert [] == box.mails


@pytest.mark.parametrize(
    "behaviour",
    [
        {"refuse": {"greeting": "554 go away"}},
        {"refuse": {"MAIL": "550 not you"}},
        {"refuse": {"RCPT": "550 not there"}},
        {"refuse": {"DATA": "451 later"}},
        {"refuse": {"EHLO": "500 what", "HELO": "500 what"}},
    ],
)
def test_what_a_server_refuses_waits_and_goes_out_with_the_next_call(place, behaviour):
    spoil(place)
    with mail_server(**behaviour) as box:
        notify(place, smtp=f"smtp://127.0.0.1:{box.port}", sender="a@example.vn", recipients=["b@example.vn"])
        with pytest.raises(UndeliveredError):
            ran(place)
        assert [] == box.mails
        box.refuse.clear()
        tell(opened(place), "audit", [])
        tell(opened(place), "audit", [])
    assert 1 == len([subject for subject in subjects(box) if "new problems" in subject])


@pytest.mark.parametrize("behaviour", [{"hang": "greeting"}, {"hang": "EHLO"}, {"hang": "drip"}, {"endless": True}])
def test_a_server_that_hangs_or_never_ends_is_left(place, monkeypatch, behaviour):
    monkeypatch.setattr(delivery, "SECONDS", 0.5)
    with mail_server(**behaviour) as box:
        notify(place, smtp=f"smtp://127.0.0.1:{box.port}", sender="a@example.vn", recipients=["b@example.vn"])
        began = time.monotonic()
        with pytest.raises(UndeliveredError):
            ran(place)
        assert time.monotonic() - began < 5


def test_a_server_that_hangs_after_it_took_the_mail_has_it(place, monkeypatch):
    monkeypatch.setattr(delivery, "SECONDS", 0.5)
    with mail_server(hang="QUIT") as box:
        notify(place, smtp=f"smtp://127.0.0.1:{box.port}", sender="a@example.vn", recipients=["b@example.vn"])
        ran(place)
        tell(opened(place), "nothing", None)
    assert 1 == len(box.mails)


def test_nobody_listening_is_an_error_that_waits_and_the_other_channel_is_told(place):
    with webhook() as hook, mail_server() as gone:
        pass
    with webhook() as hook:
        notify(place, smtp=f"smtp://127.0.0.1:{gone.port}", sender="a@example.vn", recipients=["b@example.vn"])
        notify(place, webhook=f"http://127.0.0.1:{hook.port}/")
        with pytest.raises(UndeliveredError, match="Connection refused") as failure:
            ran(place)
        assert ("mail", 1) == (failure.value.evidence["channel"], failure.value.evidence["count"])
        assert 1 == len(hook.posts)
        with pytest.raises(UndeliveredError):
            tell(opened(place), "nothing", None)
        assert 1 == len(hook.posts)
    with mail_server() as box:
        notify(place, smtp=f"smtp://127.0.0.1:{box.port}", webhook="")
        tell(opened(place), "nothing", None)
    assert 1 == len(box.mails)


def test_if_some_addresses_are_refused_the_others_have_it_once(place, box):
    box.refuse["gone@example.vn"] = "550 no such user"
    notify(place, recipients=["it@example.vn", "gone@example.vn"])
    with pytest.raises(RefusedError, match="gone@"):
        ran(place)
    tell(opened(place), "nothing", None)
    assert [["it@example.vn"]] == [recipients for _, recipients, _, _, _ in box.mails]


def test_what_waits_survives_a_crash_and_is_bounded(place, monkeypatch):
    monkeypatch.setattr(notifications, "WAITING", 3)
    with mail_server() as gone:
        pass
    notify(place, smtp=f"smtp://127.0.0.1:{gone.port}", sender="a@example.vn", recipients=["b@example.vn"])
    for number in range(6):
        with pytest.raises(UndeliveredError):
            tell(opened(place), f"work {number}", StoreFullError(place="x", needed=1, free=0, reserve=0))
    audit(place)  # cleans up what a crash left, and must leave this
    with mail_server() as box:
        notify(place, smtp=f"smtp://127.0.0.1:{box.port}")
        tell(opened(place), "work 9", StoreFullError(place="x", needed=1, free=0, reserve=0))
        tell(opened(place), "work 10", StoreFullError(place="x", needed=1, free=0, reserve=0))
    told = [text(mail) for _, _, mail, _, _ in box.mails]
    assert ["work 4", "work 5", "work 9", "work 10"] == [
        one.split("Work: ")[2].split(";")[0] if one.count("Work: ") > 1 else one.split("Work: ")[1].split(";")[0]
        for one in told
    ]
    assert "could not be delivered: 4" in told[2]
    assert "could not be delivered" not in told[3]


def test_a_state_that_cannot_be_read_is_told_anew(place, box):
    spoil(place)
    ran(place)
    path = place.folder / "repo" / "staging" / "notifications.json"
    for data in (
        b"",
        b"{",
        b"[]",
        b'{"told": 1}',
        b"\xff\xff",
        b'{"told":"","conditions":{"a":{"b":1}},"healed":{},"waiting":{},"given_up":0}',
    ):
        path.write_bytes(data)
        box.mails.clear()
        ran(place)
        assert 1 == len(box.mails)


# ---- hostile values ----------------------------------------------------------------------------------------------


def test_nothing_can_add_a_header_to_a_mail():
    message = Message(
        id="01890a5d",
        time="2026-01-01T00:00:00+00:00",
        subject="x\r\nBcc: victim@example.vn\r\n\r\nbody\x1b[31m\u2028",
        text="..\r\n.\r\nQUIT\r\nFrom x",
    )
    data = mail_bytes(message, "a@example.vn", ("b@example.vn",), "origin\r\nBcc: victim@example.vn")
    head = data.split(b"\r\n\r\n")[0].decode()
    names = [line.split(":")[0] for line in head.split("\r\n") if line[0] not in " \t"]
    assert "Bcc" not in names
    assert len(names) == len(set(names))
    assert b"\x1b" not in data
    assert b"\n.\r\n" not in data


@pytest.mark.parametrize(
    "values",
    [
        {"sender": "a@example.vn\r\nBcc: x@example.vn"},
        {"sender": ""},
        {"sender": "a b@example.vn"},
        {"recipients": []},
        {"recipients": ["b@example.vn, c@example.vn"]},
        {"recipients": ["<b@example.vn>"]},
        {"recipients": ["thư@example.vn"]},
        {"smtp": "smtp://"},
        {"smtp": "mail.example.vn:25"},
        {"smtp": "smtp://host:port"},
        {"smtp": "smtp://user:secret@host"},
        {"smtp": "smtp://host/path"},
        {"smtp": "smtp://ho\nst"},
        {"smtp": "http://host"},
        {"webhook": "ftp://host/"},
        {"webhook": "https://user:secret@host/"},
        {"webhook": "https://host/\r\nX: y"},
        {"webhook": "https://host/a b"},
        {"webhook": "https:///path"},
        {"webhook": "http://[::1"},
    ],
)
def test_a_malformed_configuration_is_an_error_and_sends_nothing(place, box, values):
    notify(place, **values)
    with pytest.raises(ConfigurationError) as failure:
        ran(place)
    assert [] == box.mails
    assert "secret" not in str(failure.value)


@pytest.mark.parametrize("content", [b"", b"\n", b"short", b"\xff" * 40, "mật khẩu dài hơn mười sáu chữ".encode()])
def test_a_secret_that_is_none_is_an_error(place, content):
    secret = place.folder / "secret"
    secret.write_bytes(content)
    secret.chmod(0o600)
    with webhook() as hook:
        notify(place, webhook=f"http://127.0.0.1:{hook.port}/", webhook_secret_file=str(secret))
        with pytest.raises((UndeliveredError, ConfigurationError)):
            ran(place)
    assert [] == hook.posts


def test_secrets_stay_out_of_errors_and_of_what_waits(place, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("a secret of sufficient length")
    secret.chmod(0o600)
    with webhook(status=500) as hook:
        notify(place, webhook=f"http://127.0.0.1:{hook.port}/token/abcdef", webhook_secret_file=str(secret))
        with pytest.raises(UndeliveredError) as failure:
            ran(place)
    assert "abcdef" not in str(failure.value)
    assert "sufficient" not in str(failure.value)
    assert "sufficient" not in (place.folder / "repo" / "staging" / "notifications.json").read_text()


# ---- the command -------------------------------------------------------------------------------------------------


def test_the_command_says_what_became_of_each_channel(place):
    with mail_server() as box, webhook(status=500) as hook:
        notify(place, smtp=f"smtp://127.0.0.1:{box.port}", sender="a@example.vn", recipients=["b@example.vn"])
        notify(place, webhook=f"http://127.0.0.1:{hook.port}/")
        said = mocban("-C", place.path, "notify", "test")
        assert 1 == said.status
        assert "mail: delivered\n" == said.out
        assert "HTTP status 500" in said.err
        listed = mocban("-C", place.path, "notify", "test", "--json").json
        assert [("mail", True), ("webhook", False)] == [(one["channel"], one["delivered"]) for one in listed]
    assert "test" == json.loads(hook.posts[0][2])["kind"]


def test_the_command_without_a_configuration_is_an_error_that_says_what_to_do(place):
    said = mocban("-C", place.path, "notify", "test")
    assert (1, "") == (said.status, said.out)
    assert "[notify]" in said.err
