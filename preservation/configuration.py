"""What an administrator decides: ``mocban.toml``, read strictly; an unknown key is an error, not a surprise."""

import dataclasses
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from preservation.windows import windows_of
from storage_backends.errors import MocbanError, Phrase, marked

FORMAT = 1
FILE_NAME = "mocban.toml"

TEMPLATE = """\
# The configuration of this repository. Unknown keys are errors.
# Cấu hình của kho lưu trữ số này. Khóa không hợp lệ bị coi là lỗi.

format = 1
repository = "{repository}"
origin = "{origin}"

[policy]
# A package is acknowledged when each of its packs lies, read back and right, on this many stores ...
# Một gói tin chỉ được xác nhận khi mỗi gói lưu trữ của nó đã nằm (đã đọc lại, đúng) trên từng này nơi lưu ...
copies = 2
# ... at this many sites, on this many kinds of media, under this many administrations.
# ... tại từng này địa điểm, trên từng này loại vật mang tin, dưới từng này đơn vị quản trị.
sites = 1
media = 1
admin_domains = 1
# true: two stores on one device count as one. / true: hai nơi lưu trên cùng thiết bị tính là một.
independent = false

[audit]
# Every copy is read again within this many days. / Mọi bản sao được đọc lại trong từng này ngày.
max_age_days = 90
# Bytes a second that audits may read from one store; 0 is no limit. / Giới hạn tốc độ đọc; 0 là không giới hạn.
bytes_per_second = 0
# Local times in which 'serve' audits: "22:00-06:00, Sat-Sun"; empty is always. / Khung giờ kiểm tra; trống là mọi lúc.
window = ""
# How audits of 'serve' wait for others at the disk: "idle", "low", "normal". / Mức ưu tiên đọc đĩa khi kiểm tra.
io_priority = "low"
# A store, a fonds or a grade of evidence may differ. / Có thể đặt riêng cho từng kho, phông hoặc mức bằng chứng:
# [audit.stores.NAME]         max_age_days, window, bytes_per_second, io_priority, grade
# [audit.fonds.CODE]          max_age_days, window
# [audit.grades.inventory]    max_age_days, window

[replication]
bytes_per_second = 0

[tape]
# 'serve' writes on tape when so many bytes wait for it, or when something has waited for so many hours.
# 'serve' ghi băng từ khi đã có từng này byte chờ ghi, hoặc khi có gói đã chờ từng này giờ.
stage_bytes = 34359738368
stage_hours = 24
# How old a cartridge may become (years), and how many days before that its evacuation is asked for, at least 365:
# what lies on it must be elsewhere a year before its end.
# Tuổi thọ của cuộn băng (năm) và số ngày báo trước để chuyển dữ liệu đi, ít nhất 365: dữ liệu phải được chuyển sang
# vật mang tin khác chậm nhất một năm trước khi hết hạn.
life_years = 10
warn_days = 545
# A kind of cartridge (the last two characters of its barcode) may differ. / Có thể đặt riêng cho từng loại cuộn băng:
# [tape.kinds.L9]             life_years, loads
# true: packs are brought to tape fonds by fonds. / true: ghi các gói xuống băng lần lượt theo từng phông.
collocate = false

[timestamp]
# A time-stamping authority (RFC 3161) that 'serve' asks for the time of a checkpoint; empty is none.
# Dịch vụ cấp dấu thời gian (RFC 3161) cho điểm kiểm của sổ cái; trống là không dùng.
url = ""
# Its root certificates (PEM). / Chứng thư gốc của dịch vụ (PEM).
ca_file = ""
every_hours = 24

[witness]
# Another archive's 'mocban witness serve' that countersigns checkpoints, and its public key.
# 'mocban witness serve' của một cơ quan lưu trữ khác, ký xác nhận các điểm kiểm, và khóa công khai của nơi đó.
url = ""
key = ""
every_minutes = 60

[notify]
# "smtp://host:port" or "smtps://host:port"; empty is no mail. / Trống là không gửi thư.
smtp = ""
sender = ""
recipients = []
# A password is sent over TLS only and read from a file, as this one is copied to every store.
# Mật khẩu chỉ gửi qua TLS và đọc từ tệp riêng, vì tệp cấu hình này được chép sang mọi nơi lưu.
username = ""
password_file = ""
webhook = ""
# The first line of this file signs what the webhook gets. / Dòng đầu của tệp này dùng để ký nội dung gửi webhook.
webhook_secret_file = ""
# Certificates (PEM) to trust instead of the system's. / Chứng thư (PEM) được tin cậy thay cho của hệ thống.
ca_file = ""
# Findings open longer are told again, louder. / Phát hiện còn mở lâu hơn sẽ được báo lại, mức cao hơn.
escalate_days = 3
# With nothing to tell for so many days, that is told; 0 is never. / Sau từng này ngày yên ổn vẫn báo; 0 là không báo.
all_well_days = 7

[metrics]
# "127.0.0.1:9464" serves /metrics from 'serve'; a file is for node_exporter's textfile collector.
# "127.0.0.1:9464" để 'serve' cung cấp /metrics; hoặc ghi ra tệp cho node_exporter.
listen = ""
textfile = ""

[report]
# Where 'serve' puts a report, how often, and in which language (en, vi). / Nơi lưu báo cáo, chu kỳ và ngôn ngữ.
folder = ""
every_days = 7
language = "vi"

[ingest]
# Limits for what an archive (tar, zip) may unpack to. / Giới hạn khi giải nén tệp nộp lưu.
unpacked_bytes = 1099511627776
unpacked_files = 10000000
unpacked_ratio = 200
unpacked_depth = 200
"""


class ConfigurationError(MocbanError):
    """The configuration is missing, malformed, or has a key or value that means nothing."""

    template = marked("{place}: {reason}")


class FormatError(MocbanError):
    """The repository has a format that this program does not know; it was not read."""

    template = marked(
        "{place}: the repository has format {found}; this program knows format {known} and reads no further"
    )


class NoRepositoryError(MocbanError):
    """There is no repository at this place."""

    template = marked("{place}: there is no repository here; 'mocban init {place}' makes one")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How many verified copies make a package acknowledged, and how different they must be."""

    copies: int = 2
    sites: int = 1
    media: int = 1
    admin_domains: int = 1
    independent: bool = False


PRIORITIES = ("idle", "low", "normal")
"""How the service's reading waits for that of others; see ``ioprio_set(2)``."""

GRADES = ("inventory", "provider", "bytes")
"""What a verification rests on: existence and size; a checksum that the store computed; bytes that we read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreAuditPolicy:
    """What is different for the copies on one store; None is as for all.

    ``grade`` is the least evidence that counts as a verification there.
    """

    max_age_days: int | None = None
    bytes_per_second: int | None = None
    window: str | None = None
    io_priority: str | None = None
    grade: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FondsAuditPolicy:
    """What is different for the copies of one fonds; None is as for all."""

    max_age_days: int | None = None
    window: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GradeAuditPolicy:
    """How often copies are looked at with less evidence than their bytes, and when; 0 days is never."""

    max_age_days: int = 0
    window: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPolicy:
    """How often copies are read again, and how politely; ``stores``, ``fonds``, ``grades`` say what is different."""

    max_age_days: int = 90
    bytes_per_second: int = 0
    window: str = ""
    io_priority: str = "low"
    stores: Mapping[str, StoreAuditPolicy] = field(default_factory=dict, metadata={"each": StoreAuditPolicy})
    fonds: Mapping[str, FondsAuditPolicy] = field(default_factory=dict, metadata={"each": FondsAuditPolicy})
    grades: Mapping[str, GradeAuditPolicy] = field(default_factory=dict, metadata={"each": GradeAuditPolicy})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicationPolicy:
    """How politely copies are made."""

    bytes_per_second: int = 0


WARNED_BEFORE = 365
"""The least ``warn_days``: contents are to be elsewhere a year before a medium's end (Circular 05/2025/TT-BNV)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediumPolicy:
    """What is different for cartridges of one kind: how old they may become, and how often they may be loaded."""

    life_years: int | None = None
    loads: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TapePolicy:
    """How old cartridges may become, how early their end is told, and whether packs are written fonds by fonds.

    ``stage_bytes`` are brought to tape in one go; the service waits for that for ``stage_hours``. The name of one of
    ``kinds`` is how a barcode ends.
    """

    stage_bytes: int = 32 << 30
    stage_hours: int = 24
    life_years: int = 10
    warn_days: int = 545
    collocate: bool = False
    kinds: Mapping[str, MediumPolicy] = field(default_factory=dict, metadata={"each": MediumPolicy})


@dataclass(frozen=True, slots=True, kw_only=True)
class TimestampPolicy:
    """Who states the time of a checkpoint (RFC 3161), the file with its root certificates (PEM), and how often."""

    url: str = ""
    ca_file: str = ""
    every_hours: int = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessPolicy:
    """Who countersigns checkpoints (C2SP tlog-witness), its verifier key, and how often."""

    url: str = ""
    key: str = ""
    every_minutes: int = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyPolicy:
    """Who is told of a run, by mail or webhook, after how many days an open finding is told again, louder.

    After ``all_well_days`` without a message there is one all the same: silence is a sign that nothing runs.
    """

    smtp: str = ""
    sender: str = ""
    recipients: tuple[str, ...] = ()
    username: str = ""
    password_file: str = ""
    webhook: str = ""
    webhook_secret_file: str = ""
    ca_file: str = ""
    escalate_days: int = 3
    all_well_days: int = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsPolicy:
    """Where Prometheus finds figures: an address that the service listens on, or a file."""

    listen: str = ""
    textfile: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPolicy:
    """Where the service puts a report, how often, in which language (``en`` or ``vi``)."""

    folder: str = ""
    every_days: int = 7
    language: str = "vi"


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestPolicy:
    """Limits for what an archive may unpack to: bytes, files, ratio, folders in folders."""

    unpacked_bytes: int = 1 << 40
    unpacked_files: int = 10_000_000
    unpacked_ratio: int = 200
    unpacked_depth: int = 200


SECTIONS: dict[str, type[Any]] = {
    "policy": Policy,
    "audit": AuditPolicy,
    "replication": ReplicationPolicy,
    "tape": TapePolicy,
    "timestamp": TimestampPolicy,
    "witness": WitnessPolicy,
    "notify": NotifyPolicy,
    "metrics": MetricsPolicy,
    "report": ReportPolicy,
    "ingest": IngestPolicy,
}
"""The tables of the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """The whole of ``mocban.toml``."""

    repository: str
    origin: str
    policy: Policy = field(default_factory=Policy)
    audit: AuditPolicy = field(default_factory=AuditPolicy)
    replication: ReplicationPolicy = field(default_factory=ReplicationPolicy)
    tape: TapePolicy = field(default_factory=TapePolicy)
    timestamp: TimestampPolicy = field(default_factory=TimestampPolicy)
    witness: WitnessPolicy = field(default_factory=WitnessPolicy)
    notify: NotifyPolicy = field(default_factory=NotifyPolicy)
    metrics: MetricsPolicy = field(default_factory=MetricsPolicy)
    report: ReportPolicy = field(default_factory=ReportPolicy)
    ingest: IngestPolicy = field(default_factory=IngestPolicy)

    @classmethod
    def load(cls, folder: str) -> Self:
        """Read the configuration of the repository in ``folder``.

        Raises:
            NoRepositoryError, ConfigurationError, FormatError.
        """
        place = os.path.join(folder, FILE_NAME)
        try:
            with open(place, "rb") as file:
                text = file.read()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NoRepositoryError(place=folder) from error
        except OSError as error:
            raise ConfigurationError(place=place, reason=error.strerror) from error
        return cls.parse(text, place)

    @classmethod
    def parse(cls, text: bytes, place: str) -> Self:
        """Read the configuration from ``text``; ``place`` is for messages only."""
        try:
            values = tomllib.loads(text.decode())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigurationError(place=place, reason=str(error)) from error
        found = values.pop("format", None)
        if found != FORMAT:
            raise FormatError(place=place, found=found, known=FORMAT)
        for name, kind in SECTIONS.items():
            values[name] = _section(kind, values.get(name, {}), name, place)
        configuration: Self = _section(cls, values, "", place)
        return configuration


def _unknown(key: str, name: str) -> Phrase:
    if not name:
        return Phrase("unknown key {key!r}", key=key)
    return Phrase("unknown key {key!r} in [{name}]", key=key, name=name)


def _section(kind: type[Any], values: object, name: str, place: str) -> Any:
    if not isinstance(values, dict):
        raise ConfigurationError(place=place, reason=Phrase("[{name}] is not a table", name=name))
    known = {one.name: one for one in dataclasses.fields(kind)}
    for key, value in values.items():
        if key not in known:
            raise ConfigurationError(place=place, reason=_unknown(key, name))
        if each := known[key].metadata.get("each"):
            values[key] = _each(each, value, f"{name}.{key}", place)
        else:
            values[key] = _value(known[key].type, value, key, place)
    missing = [
        key
        for key, one in known.items()
        if key not in values and one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigurationError(place=place, reason=Phrase("{name!r} is missing", name=missing[0]))
    if kind is Policy and values.get("copies", 1) < 1:
        raise ConfigurationError(place=place, reason="'copies' must be at least 1")
    if kind is TapePolicy and values.get("warn_days", WARNED_BEFORE) < WARNED_BEFORE:
        reason = Phrase("'warn_days' must be at least {days} in [tape]", days=WARNED_BEFORE)
        raise ConfigurationError(place=place, reason=reason)
    if kind in {TapePolicy, MediumPolicy} and values.get("life_years", 1) < 1:
        raise ConfigurationError(place=place, reason=Phrase("'life_years' must be at least 1 in [{name}]", name=name))
    if "window" in known:
        _check_audits(kind, values, name, place)
    return kind(**values)


def _value(wanted: Any, value: Any, key: str, place: str) -> Any:
    """Return a value of a type that TOML and we have in common."""
    wanted = {int | None: int, str | None: str}.get(wanted, wanted)
    if wanted in {int, bool, str} and type(value) is not wanted:
        reason = Phrase("{key!r} is not of type {kind}", key=key, kind=wanted.__name__)
        raise ConfigurationError(place=place, reason=reason)
    if wanted is int and value < 0:
        raise ConfigurationError(place=place, reason=Phrase("{key!r} is negative", key=key))
    if wanted == tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise ConfigurationError(place=place, reason=Phrase("{key!r} is not a list of texts", key=key))
        return tuple(value)
    return value


def _each(kind: type[Any], values: object, name: str, place: str) -> dict[str, Any]:
    """Return a table of tables, by their names."""
    if not isinstance(values, dict):
        raise ConfigurationError(place=place, reason=Phrase("[{name}] is not a table", name=name))
    if kind is GradeAuditPolicy and (wrong := values.keys() - set(GRADES[:-1])):
        reason = Phrase("unknown grade {grade!r} in [{name}]", grade=min(wrong), name=name)
        raise ConfigurationError(place=place, reason=reason)
    return {key: _section(kind, value, f"{name}.{key}", place) for key, value in values.items()}


def _check_audits(kind: type[Any], values: Mapping[str, Any], name: str, place: str) -> None:
    """Refuse what would silently mean that nothing is ever audited."""
    if kind is not GradeAuditPolicy and values.get("max_age_days") == 0:
        raise ConfigurationError(place=place, reason=Phrase("'max_age_days' must be at least 1 in [{name}]", name=name))
    for key, known in (("io_priority", PRIORITIES), ("grade", GRADES)):
        if values.get(key, known[0]) not in known:
            raise ConfigurationError(
                place=place,
                reason=Phrase("{key!r} in [{name}] is none of {known}", key=key, name=name, known=", ".join(known)),
            )
    try:
        windows_of(values.get("window", ""))
    except ValueError as error:
        reason = Phrase(
            "'window' in [{name}]: {error!r} is not HH:MM-HH:MM, nor days such as Sat-Sun, nor both",
            name=name,
            error=str(error),
        )
        raise ConfigurationError(place=place, reason=reason) from error
