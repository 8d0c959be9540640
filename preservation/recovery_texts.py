"""What lies on every store for people who have lost everything else: a README and a restore script."""

STORE_README = """\
MỘC BẢN STORE

English
-------
This is one store of a digital archive. It can be read without any program of ours.

packs/<fonds>/<xx>/<digest>.tar   the records, in plain tar files; each file's name is its own BLAKE3 digest
indexes/                          what is in each pack (text), and the digests of its blocks
ledger/                           the log of everything that ever happened, signed; Parquet and text
quarantine/                       damaged bytes that were set aside; never needed for recovery
restore.sh                        copies all packages out, where links do not work

1. Check:     for each pack,   b3sum <pack>.tar   prints the name of the pack.
2. Extract:   mkdir restored; find packs -name '*.tar' -exec tar xf {} -C restored \\;
3. The records stand under restored/packages/<package>/v<version>/files/ under their own names.
   Where links do not work:    sh restore.sh STORE DESTINATION
4. With the program:           mocban rebuild --from file:///PATH/OF/THIS/STORE NEW_REPOSITORY

Tiếng Việt
----------
Đây là một nơi lưu của một kho lưu trữ số. Có thể đọc nơi lưu này mà không cần chương trình nào của chúng tôi.

packs/<phông>/<xx>/<mã băm>.tar   tài liệu, trong các tệp tar thông thường; tên tệp chính là mã băm BLAKE3 của nó
indexes/                          nội dung từng gói (dạng văn bản) và mã băm của từng khối
ledger/                           sổ cái ghi mọi việc đã xảy ra, có chữ ký; Parquet và văn bản
quarantine/                       các byte hỏng đã được cách ly; không cần khi khôi phục
restore.sh                        chép mọi gói tin ra ngoài, dùng khi hệ thống tệp không hỗ trợ liên kết

1. Kiểm tra:  với mỗi gói,     b3sum <gói>.tar    in lại đúng tên của gói.
2. Giải nén:  mkdir restored; find packs -name '*.tar' -exec tar xf {} -C restored \\;
3. Tài liệu nằm trong restored/packages/<gói tin>/v<phiên bản>/files/ với đúng tên gốc.
   Nơi không dùng được liên kết:    sh restore.sh NƠI_LƯU NƠI_ĐẾN
4. Bằng chương trình:          mocban rebuild --from file:///ĐƯỜNG/DẪN/NƠI/LƯU/NÀY KHO_MỚI
"""

RESTORE_SCRIPT = r"""#!/bin/sh
# Copies every package of a store out of its packs, as ordinary files, under their original names.
# Chép mọi gói tin của một nơi lưu ra thành các tệp thông thường, với đúng tên gốc.
#
# usage: sh restore.sh STORE DESTINATION
# needs: sh, tar, find, sed, cp, mkdir, od; b3sum if it is there (then every pack is checked first)
set -eu
LC_ALL=C
export LC_ALL
[ $# -eq 2 ] || { sed -n 2,6p "$0"; exit 2; }
store=$1
dest=$2
mkdir -p "$dest/packages" "$dest/.packs"
dest=$(cd "$dest" && pwd)
wrong=0

# 1. Every pack into one place, without the links: contents, manifests and repeated files only.
find "$store/packs" -type f -name '*.tar' | sort > "$dest/.list"
while IFS= read -r pack; do
    name=${pack##*/}
    if command -v b3sum > /dev/null 2>&1; then
        found=$(b3sum --no-names "$pack")
        if [ "$found.tar" != "$name" ]; then
            echo "damaged pack, its good files are still taken: $pack" >&2
            wrong=1
        fi
    fi
    tar xf "$pack" -C "$dest/.packs" --wildcards --no-wildcards-match-slash \
        'content/*/*' 'packages/*/v*/manifest.jsonl' 2> /dev/null || true # a pack may have none of one kind
done < "$dest/.list"

# 2. By the manifests: each line names a file and the digest of its content.
unescape() { # JSON string to bytes; \uXXXX stands only for control characters, which we never keep in names
    printf '%s' "$1" | sed -e 's/\\"/"/g' -e 's/\\\\/\\/g'
}
find "$dest/.packs/packages" -mindepth 3 -maxdepth 3 -name manifest.jsonl | sort > "$dest/.list"
while IFS= read -r manifest; do
    folder=${manifest%/manifest.jsonl}
    out=$dest/packages/${folder#"$dest/.packs/packages/"}
    mkdir -p "$out/files"
    cp "$manifest" "$out/manifest.jsonl"
    while IFS= read -r line; do
        case $line in
        *'"mocban":"manifest"'*) continue ;;
        *'"path":"'*) path=$(unescape "$(printf '%s' "$line" | sed 's/.*"path":"\(\([^"\\]\|\\.\)*\)".*/\1/')") ;;
        *'"path_b64":"'*) path=$(printf '%s' "$line" | sed 's/.*"path_b64":"\([^"]*\)".*/\1/' | base64 -d) ;;
        *) continue ;;
        esac
        case /$path/ in */../*) printf 'refused: %s\n' "$path" >&2; wrong=1; continue ;; esac
        case $line in *'"folder":true'*) mkdir -p "$out/files/$path" || wrong=1; continue ;; esac
        digest=$(printf '%s' "$line" | sed 's/.*"blake3":"\([0-9a-f]\{64\}\)".*/\1/')
        part=$(printf '%s' "$digest" | cut -c 1-2)
        mkdir -p "$(dirname "$out/files/$path")" && cp "$dest/.packs/content/$part/$digest" "$out/files/$path" ||
            { printf 'missing: %s\n' "$path" >&2; wrong=1; }
    done < "$manifest"
done < "$dest/.list"
rm -rf "$dest/.packs" "$dest/.list"
exit $wrong
"""
