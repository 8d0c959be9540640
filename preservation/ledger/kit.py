"""What the recovery kit says to whoever opens it, in English and Vietnamese."""

KIT_README = """\
RECOVERY KIT OF {origin}
========================

What this is
  root.pem    the root key: a secret. Whoever has it can name a new key for the ledger of this repository.
  root.vkey   its public half; give it to your auditor.

What to do with it now
  1. Copy this folder to two media (for example two USB sticks), print this page with both keys below, and keep them
     in two places that do not burn together: a safe here, and one with a partner.
  2. Remove it from the server. The daily work does not need it.
  3. Confirm that it is safe:  mocban -C DIR ledger key --kit-confirmed

When you will need it
  - The server is gone: rebuild the repository from any store. The records need no key to be read; the root key lets
    the new server go on signing under a new key:  mocban rebuild --from STORE DIR --kit THIS_FOLDER
  - The log key was stolen or is to be changed:  mocban -C DIR ledger key --rotate --kit THIS_FOLDER

To check the ledger without this program: every checkpoint (ledger/checkpoints/*.note) is a C2SP signed note with an
Ed25519 signature, which OpenSSL 3 verifies.

  log key   {log}
  root key  {root}


BỘ KHÔI PHỤC CỦA {origin}
========================

Đây là gì
  root.pem    khóa gốc: bí mật. Ai giữ khóa này có thể chỉ định khóa mới cho sổ cái (ledger) của kho lưu trữ.
  root.vkey   phần công khai của khóa gốc; hãy giao cho kiểm toán viên.

Việc cần làm ngay
  1. Sao thư mục này ra hai vật mang tin (ví dụ hai thẻ nhớ USB), in trang này cùng hai khóa bên dưới, và cất ở hai
     nơi không thể cùng cháy: một két tại đây, một nơi ở đơn vị bạn.
  2. Xóa thư mục này khỏi máy chủ. Công việc hằng ngày không cần đến nó.
  3. Xác nhận đã cất giữ an toàn:  mocban -C DIR ledger key --kit-confirmed

Khi nào cần đến
  - Máy chủ không còn: dựng lại kho từ bất kỳ nơi lưu nào. Đọc hồ sơ không cần khóa; khóa gốc cho phép máy chủ mới
    tiếp tục ký bằng khóa mới:  mocban rebuild --from STORE DIR --kit THƯ_MỤC_NÀY
  - Khóa nhật ký bị lộ hoặc cần thay:  mocban -C DIR ledger key --rotate --kit THƯ_MỤC_NÀY

Kiểm tra sổ cái mà không cần chương trình này: mỗi điểm kiểm (ledger/checkpoints/*.note) là một ghi chú có chữ ký theo
C2SP, chữ ký Ed25519, OpenSSL 3 kiểm được.

  khóa nhật ký  {log}
  khóa gốc      {root}
"""
