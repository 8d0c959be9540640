"""The text that every pack begins with: what this is, and how to read it without our program, in two languages.

It is part of format 1: a change to one letter would be a new format, since repair gives it back from the label alone.
"""

README = """\
MỘC BẢN PACK, FORMAT 1 - {label}

English
-------
This file is a plain tar archive that keeps records of an archive. Any program that reads tar can read it; no other
program is needed.

1. Copy all packs (files named *.tar) of the store into one place and extract them all into one empty folder, in any
   order:          for p in *.tar; do tar xf "$p" -C restored; done
2. The records then stand under packages/<package>/v<version>/files/ with the names under which they were handed over.
   packages/<package>/v<version>/manifest.jsonl lists them, a line each, with their digests (BLAKE3, SHA-256).
3. Every file's bytes stand once under content/, named by their BLAKE3 digest; the names under files/ are links to them.
   Where links do not work, run restore.sh, which lies on every store and copies by the manifest.
4. A pack's own name is the BLAKE3 digest of the pack: b3sum prints it again if nothing has changed. The member
   index-{label}.jsonl lists every member with its place and digest.

Tiếng Việt
----------
Tệp này là một gói lưu trữ định dạng tar thông thường, chứa tài liệu lưu trữ. Mọi chương trình đọc được tar đều đọc được
tệp này; không cần chương trình nào khác.

1. Chép tất cả các gói (các tệp *.tar) của nơi lưu này vào một chỗ rồi giải nén tất cả vào cùng một thư mục trống, theo
   thứ tự bất kỳ:  for p in *.tar; do tar xf "$p" -C restored; done
2. Khi đó tài liệu nằm trong packages/<gói tin>/v<phiên bản>/files/ với đúng tên lúc giao nộp.
   packages/<gói tin>/v<phiên bản>/manifest.jsonl liệt kê từng tệp trên một dòng, kèm mã băm (BLAKE3, SHA-256).
3. Nội dung của mỗi tệp chỉ nằm một lần trong content/, đặt tên theo mã băm BLAKE3; các tên trong files/ là liên kết đến
   đó. Nơi nào không dùng được liên kết, hãy chạy restore.sh (có trên mọi nơi lưu) để chép theo bảng kê.
4. Tên của gói chính là mã băm BLAKE3 của gói: nếu không có gì thay đổi, b3sum sẽ in lại đúng tên đó. Thành phần
   index-{label}.jsonl liệt kê mọi thành phần trong gói cùng vị trí và mã băm.
"""


def readme(label: str) -> bytes:
    """Return the README member of the pack ``label``."""
    return README.format(label=label).encode()
