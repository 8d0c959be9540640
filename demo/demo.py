"""Show the main job on a sample dossier: keep it on two stores, damage both, heal both, give it back, migrate a format.

Usage: python demo/demo.py, or `make demo`, which sets everything up first. Nothing is asked. Everything is made in
`demo-repository/` beside the README, which is removed first if an earlier run made it. The language follows LANG.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

HERE = Path(__file__).resolve().parent
PLACE = HERE.parent / "demo-repository"
MARKER = PLACE / "made-by-make-demo"
PROGRAMS = Path(sys.executable).parent
VARIABLES = ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")
VIETNAMESE = next((os.environ[name] for name in VARIABLES if os.environ.get(name)), "").startswith("vi")
FONDS = "UBND-TN"
TITLE = "Hồ sơ xã Trăng Ngà sau sáp nhập"
OLD_TEXT = "Báo cáo 1998 (TCVN3).txt"
OLD_BYTES = (
    b"\xf1y ban nh\xa9n d\xa9n x\xb7 tr\xa8ng ng\xb5\n"
    b"b\xb8o c\xb8o v\xd2 vi\xd6c c\xcap gi\xcay ch\xf8ng nh\xcbn quy\xd2n s\xf6 d\xf4ng \xae\xcat n\xa8m 1998\n"
    b"\xae\xd5n ng\xb5y 31 th\xb8ng 12, x\xb7 \xae\xb7 c\xcap \xae\xad\xeec 214 gi\xcay ch\xf8ng nh\xcbn "
    b"cho c\xb8c h\xe9 trong x\xb7.\n"
)
"""Three lines as they were written before Unicode, in TCVN 5712:1993."""


class DemoError(Exception):
    """A step did not end as it should; the message says which."""


def tell(english: str, vietnamese: str) -> None:
    """Say what comes next, in the person's language."""
    print(f"\n== {vietnamese if VIETNAMESE else english}", flush=True)


def run(*command: str, quiet: bool = False) -> str:
    """Run a command in the demonstration's folder, show it and what it says, and return its standard output.

    Raises:
        DemoError: it ended with another status than 0.
    """
    if not quiet:
        print(f"$ {shlex.join(command)}", flush=True)
    program = PROGRAMS / command[0]
    started = [str(program) if program.exists() else command[0], *command[1:]]
    result = subprocess.run(started, cwd=PLACE, stdout=subprocess.PIPE, text=True, check=False)
    if not quiet:
        print(result.stdout, end="", flush=True)
    if result.returncode != 0:
        raise DemoError(f"{shlex.join(command)}: {result.returncode}")
    return result.stdout


def mocban(*arguments: str, quiet: bool = False) -> str:
    """Run mocban on the demonstration's repository."""
    return run("mocban", "-C", "archive", *arguments, quiet=quiet)


def clear() -> None:
    """Make an empty folder; only what an earlier demonstration made is removed."""
    if PLACE.exists() and not MARKER.exists():
        raise DemoError(f"{PLACE}: exists and was not made by this demonstration; move it away")
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir()
    MARKER.touch()


def packs_of(store: str) -> list[Path]:
    """Return the packs that lie on a store."""
    return sorted((PLACE / store / "packs").rglob("*.tar"))


def flip(pack: Path, share: float) -> int:
    """Flip one bit at ``share`` of the file, as a tired disk would: its time and mode stay. Return where."""
    state = pack.stat()
    place = int(state.st_size * share)
    pack.chmod(0o600)
    with pack.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 0x10]))
    os.utime(pack, ns=(state.st_atime_ns, state.st_mtime_ns))
    pack.chmod(state.st_mode & 0o7777)
    return place


def differing(one: Path, other: Path) -> list[str]:
    """Return the paths of files that are not in both trees with the same bytes."""
    trees = [{str(file.relative_to(top)): file for file in top.rglob("*") if file.is_file()} for top in (one, other)]
    names = sorted({*trees[0], *trees[1]})
    return [
        name
        for name in names
        if not (name in trees[0] and name in trees[1] and trees[0][name].read_bytes() == trees[1][name].read_bytes())
    ]


def keep() -> str:
    """Make a repository with two stores, take the dossier in, and return the package's identifier."""
    tell(
        "A sample dossier: the records of a commune that was merged from three.",
        "Hồ sơ mẫu: tài liệu của một xã được sáp nhập từ ba xã.",
    )
    run(sys.executable, str(HERE / "dossier.py"), str(PLACE / "dossier"), quiet=True)
    (PLACE / "dossier" / OLD_TEXT).write_bytes(OLD_BYTES)
    files = [file for file in (PLACE / "dossier").rglob("*") if file.is_file()]
    for file in sorted(files)[:: len(files) // 5]:
        print(f"  {file.relative_to(PLACE)}")
    tell(
        "A repository, and two folders that stand for two disks at two sites.",
        "Một kho lưu trữ số và hai thư mục thay cho hai ổ đĩa ở hai địa điểm.",
    )
    run("mocban", "init", "archive")
    for name, site in (("disk-one", "hanoi"), ("disk-two", "hue")):
        mocban("store", "add", name, (PLACE / name).as_uri(), "--site", site)
    tell(
        "Take the dossier in. The command ends when each copy was read back from its disk.",
        "Thu nhận hồ sơ. Lệnh chỉ kết thúc khi mỗi bản sao đã được đọc lại từ đĩa.",
    )
    mocban("fonds", "add", FONDS, "--title", "Ủy ban nhân dân xã Trăng Ngà")
    mocban("ingest", "dossier", "--fonds", FONDS, "--title", TITLE)
    mocban("status")
    package: str = json.loads(mocban("list", "--json", quiet=True))[0]["package"]
    return package


def damage_and_heal() -> None:
    """Flip a bit on each store at different places, then audit; the audit must find and heal both."""
    tell(
        "Now damage: one bit on each disk, at different places, so that no copy is whole.",
        "Bây giờ làm hỏng: mỗi đĩa một bit, ở hai chỗ khác nhau, nên không bản sao nào còn nguyên vẹn.",
    )
    for store, share in (("disk-one", 0.3), ("disk-two", 0.6)):
        pack = packs_of(store)[0]
        print(f"  {store}: {pack.name[:16]}...tar, byte {flip(pack, share)}")
    tell(
        "The audit reads every copy, finds both, and joins what is good on either side.",
        "Kiểm tra đọc mọi bản sao, phát hiện cả hai lỗi và ghép lại từ những phần còn tốt ở hai bên.",
    )
    mocban("audit")
    tell("A second audit finds every copy as it should be.", "Kiểm tra lần hai: mọi bản sao đều nguyên vẹn.")
    mocban("audit")
    mocban("status")


def give_back(package: str) -> None:
    """Export a bag, let another program validate it, and compare it with what was handed over."""
    tell(
        "Give the package back as a BagIt bag; another program validates it.",
        "Xuất gói tin thành gói BagIt; một chương trình khác xác nhận gói đó hợp lệ.",
    )
    mocban("export", package, "bag", "--as", "bagit")
    run("bagit.py", "--validate", "--quiet", "bag")
    wrong = differing(PLACE / "dossier", PLACE / "bag" / "data")
    if wrong:
        raise DemoError(f"{wrong[0]}: not as it was handed over")
    count = sum(file.is_file() for file in (PLACE / "dossier").rglob("*"))
    text = "tệp giống hệt bản nộp lưu, từng byte một" if VIETNAMESE else "files are what was handed over, byte for byte"
    print(f"{count} {text}")


def person(name: str, file: str) -> None:
    """Register somebody with a key pair; in real life everybody makes their own and hands over the public half."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (PLACE / f"{file}.pem").write_bytes(private)
    (PLACE / f"{file}.pub.pem").write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    mocban("agent", "add", name, "--key", f"{file}.pub.pem")


def sandbox() -> list[str]:
    """Return the option that lets tools run where this machine cannot shut them in, if it cannot."""
    for program in (["bwrap", "--ro-bind", "/", "/", "--unshare-all", "true"], ["unshare", "-rn", "true"]):
        if shutil.which(program[0]) and subprocess.run(program, capture_output=True, check=False).returncode == 0:
            return []
    return ["--unisolated"]


def migrate() -> None:
    """Plan, try, approve by a second person, execute and report the migration of the old text."""
    tell(
        "One text is in an encoding of before Unicode. Two people, each with a key: one plans, the other approves.",
        "Một văn bản dùng bảng mã có trước Unicode. Hai người, mỗi người một khóa: một lập kế hoạch, một phê duyệt.",
    )
    person("Nguyễn Thị An", "an")
    person("Trần Văn Bình", "binh")
    mocban("formats", "risk")
    mocban("migrate", "plan", "tcvn3-utf8", "--agent", "Nguyễn Thị An", "--key", "an.pem", *sandbox())
    plan = json.loads(mocban("migrate", "list", "--json", quiet=True))[-1]["plan"]
    mocban("migrate", "approve", plan, "--agent", "Trần Văn Bình", "--key", "binh.pem")
    tell(
        "Executed: the original stays, the new file lies beside it, and each says where it comes from.",
        "Thực hiện: bản gốc giữ nguyên, tệp mới nằm bên cạnh, và mỗi tệp đều ghi rõ nguồn gốc.",
    )
    mocban("migrate", "run", plan, *sandbox())
    mocban("migrate", "report", plan)


def prove() -> None:
    """Verify the ledger, and a pack with a program that is not ours."""
    tell(
        "Everything that happened is in a signed log, which is derived again from its first event.",
        "Mọi việc đã xảy ra đều nằm trong sổ cái có chữ ký số; sổ cái được tính lại từ sự kiện đầu tiên.",
    )
    mocban("ledger", "verify")
    if shutil.which("b3sum"):
        tell(
            "A pack is a tar file whose name is its own BLAKE3 digest: no mocban is needed to check or to open it.",
            "Mỗi gói lưu trữ là một tệp tar mang tên chính là mã băm BLAKE3 của nó: kiểm tra và mở không cần mocban.",
        )
        pack = packs_of("disk-one")[0]
        if run("b3sum", str(pack.relative_to(PLACE))).split()[0] != pack.stem:
            raise DemoError(f"{pack}: is not what its name says")


def say_where() -> None:
    """Say where everything lies and what to try next."""
    if VIETNAMESE:
        print(f"""
== Xong. Mọi thứ nằm trong {PLACE.name}/ :
  archive/              kho lưu trữ số: danh mục, sổ cái, cấu hình (mocban.toml)
  disk-one/             bản sao thứ nhất; README.txt và restore.sh chỉ cách lấy lại mọi thứ mà không cần mocban
  disk-two/             bản sao thứ hai
  archive.recovery-kit/ khóa gốc; ngoài đời phải cất ở hai nơi an toàn
  bag/                  gói tin đã xuất, kèm sự kiện PREMIS
Thử tiếp:
  .venv/bin/mocban -C {PLACE.name}/archive events --type repair
  .venv/bin/mocban -C {PLACE.name}/archive doctor
  .venv/bin/mocban --help
Đọc thêm: README.vi.md, docs/commands.md, docs/findings.md, docs/format.md""")
    else:
        print(f"""
== Done. Everything lies in {PLACE.name}/ :
  archive/              the repository: catalog, ledger, configuration (mocban.toml)
  disk-one/             the first copy; README.txt and restore.sh tell how to get everything back without mocban
  disk-two/             the second copy
  archive.recovery-kit/ the root key; in real life it belongs in two safe places
  bag/                  the package that was given back, with its PREMIS events
Try next:
  .venv/bin/mocban -C {PLACE.name}/archive events --type repair
  .venv/bin/mocban -C {PLACE.name}/archive doctor
  .venv/bin/mocban --help
Read on: README.md, docs/commands.md, docs/findings.md, docs/format.md""")


def main() -> int:
    """Tell the whole story; return the exit status."""
    try:
        clear()
        package = keep()
        damage_and_heal()
        give_back(package)
        migrate()
        prove()
    except (DemoError, OSError) as error:
        print(f"\n{'Không thành công' if VIETNAMESE else 'This did not work'}: {error}", file=sys.stderr)
        return 1
    say_where()
    return 0


if __name__ == "__main__":
    sys.exit(main())
