#!/bin/sh
# Verifies the evidence folder in which it lies; needs sh, OpenSSL 3, the DuckDB command line (duckdb) and coreutils.
# usage: sh verify.sh [--key PEM] [--checkpoint NOTE]...
#   PEM   the public key of the log or the root key, and NOTE an older checkpoint: from your own hands, not from here.
# Exit status: 0 all is as it must be, 1 something is not, 2 usage or a program is missing. README.txt says more.
set -u
export LC_ALL=C
bad=0 key='' held='' usage='usage: sh verify.sh [--key PEM] [--checkpoint NOTE]...'
fail() { echo "NOT VERIFIED: $*" >&2; bad=1; }
stop() { echo "$*" >&2; exit 2; }
for tool in openssl duckdb base64 od sed grep cmp sha256sum; do command -v $tool >/dev/null || stop "$tool is needed"; done
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd) && work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT && trap 'exit 130' INT TERM || exit 2
while [ $# -gt 0 ]; do [ $# -gt 1 ] && [ -r "$2" ] || stop "$usage"
    case $1 in
    --key) cp -- "$2" "$work/key.pem" && key=yes || exit 2 ;;
    --checkpoint) held="$held $#.held" && cp -- "$2" "$work/$#.held" || exit 2 ;;
    *) stop "$usage" ;;
    esac
    shift 2
done
ln -s "$here" "$work/e" && cd "$work" || exit 2

note() { # FILE: cuts a signed note into body and lines, reads origin, size and root; false if it is not exactly one
    sed '/^$/,$d' "$1" >body && sed '1,/^$/d' "$1" >lines && { cat body; echo; cat lines; } | cmp -s - "$1" &&
        [ -s lines ] && [ -z "$(tail -c 1 "$1")" ] && ! grep -qvE '^— [^ +]+ [A-Za-z0-9+/]+=*$' lines &&
        { IFS= read -r origin && IFS= read -r size && IFS= read -r root; } <body
}
head_in() { note "$1" && echo "$size $root" | grep -qxE '(0|[1-9][0-9]{0,11}) [A-Za-z0-9+/]{43}='; } # a checkpoint
signed() { # NAME ID PEM: did that key sign the note that was cut last? 0 yes, 1 no, 2 wrongly
    found=1
    while IFS=' ' read -r _ name data; do
        [ "$name" = "$1" ] && printf %s "$data" | base64 -d >raw 2>/dev/null || continue
        [ "$(od -An -tx1 -N4 raw | tr -d ' \n')" = "$2" ] || continue
        tail -c +5 raw >sig
        openssl pkeyutl -verify -pubin -inkey "$3" -rawin -in body -sigfile sig >/dev/null 2>&1 || return 2
        found=0
    done <lines
    return $found
}
public() { # VKEY NAME: writes NAME.pub.pem, sets kname and kid; false unless it is a well-formed Ed25519 key
    kname=${1%%+*} rest=${1#*+} && kid=${rest%%+*} && printf %s "${rest#*+}" | base64 -d >pub 2>/dev/null &&
        [ "$(od -An -tx1 -N1 pub)" = ' 01' ] && [ "$(wc -c <pub)" -eq 33 ] &&
        [ "$({ printf '%s\n' "$kname"; cat pub; } | sha256sum | cut -c 1-8)" = "$kid" ] &&
        { printf '\060\052\060\005\006\003\053\145\160\003\041\000'; tail -c 32 pub; } |
        openssl pkey -pubin -inform DER -out "$2.pub.pem" 2>/dev/null && printf '%s\n' "$1" >"$2.pub.vkey"
}
bits() { openssl pkey -pubin -in "$1" -outform DER 2>/dev/null | tail -c 32 | base64; }

# The events: in order and complete, each column as its record says; the tree (RFC 6962) at the size of each checkpoint.
for file in e/checkpoints/*.note $held; do head_in "$file" && echo "$size"; done | sort -un >sizes
duckdb -no-init -batch -bail -list -noheader -separator ' ' db >found 2>errors <<'SQL' || fail "the events: $(head -n 2 errors)"
CREATE VIEW f AS SELECT name, first, stop, coalesce(rows, 0) AS rows FROM (SELECT file AS name,
  try_cast(file[12:23] AS BIGINT) AS first, try_cast(file[25:36] AS BIGINT) AS stop FROM glob('e/segments/**'))
  LEFT JOIN (SELECT filename AS name, count(*) AS rows FROM read_parquet('e/segments/**/*.parquet', filename=true) GROUP BY 1) USING (name);
SELECT 'wrong', name, 'is not complete, not in order, or not a segment' FROM (SELECT *, lag(stop, 1, 0) OVER (ORDER BY name) AS before FROM f)
  WHERE NOT regexp_full_match(name, 'e/segments/[0-9]{12}-[0-9]{12}[.]parquet') OR first <> before OR rows <> stop - first;
CREATE VIEW e AS SELECT *, json_extract_string(record, ['$.seq', '$.id', '$.type', '$.time', '$.outcome', '$.fonds', '$.agent',
  '$.detail.pack', '$.detail.store', '$.detail.package', '$.detail.run']) AS said
  FROM read_parquet('e/segments/**/*.parquet', filename=true, file_row_number=true);
SELECT 'wrong event', seq, 'its columns are not what its record says, or it is not in its place' FROM e
  WHERE seq <> filename[12:23]::UBIGINT + file_row_number OR said IS DISTINCT FROM [seq::VARCHAR, event_id, event_type,
  strftime(make_timestamp(epoch_us(event_datetime)), '%Y-%m-%dT%H:%M:%S.%fZ'), outcome, fonds, agent, pack, store, package, run] LIMIT 3;
CREATE TABLE special AS SELECT seq::BIGINT AS seq, event_type AS kind, record FROM e WHERE seq = 0 OR seq IN (SELECT stop FROM f)
  OR event_type = 'tag:mocban,2026:key-rotation' OR contains(record, '"attestations":{');
SELECT 'wrong', name, 'is not closed by the event after it' FROM f LEFT JOIN special ON seq = stop
  WHERE stop < (SELECT max(stop) FROM f) AND (kind = 'tag:mocban,2026:segment-closed'
  AND (record->>'$.detail.first') = first::VARCHAR AND (record->>'$.detail.end') = stop::VARCHAR) IS NOT TRUE;
SELECT 'file', regexp_replace(sha, '[^0-9a-f]', '?', 'g'), regexp_replace(name, '[^0-9a-z/.-]', '?', 'g') FROM (
  SELECT name, record->>'$.detail.sha256' AS sha FROM f JOIN special ON seq = stop UNION ALL
  SELECT 'e/' || key, max_by(value->>'$', seq) FROM special, json_each(record, '$.detail.attestations') GROUP BY key);
SELECT unnest(['log', 'root']), base64(encode(unnest(json_extract_string(record, ['$.detail.log_key', '$.detail.root_key']))))
  FROM special WHERE seq = 0 AND kind = 'tag:mocban,2026:genesis';
SELECT 'rotation', seq + 1, base64(encode(record->>'$.detail.note')) FROM special WHERE kind = 'tag:mocban,2026:key-rotation' ORDER BY seq;
SELECT 'events', coalesce(max(stop), 0) FROM f;
CREATE TABLE node AS WITH RECURSIVE t(level, i, h) AS (
  SELECT 0, seq::BIGINT, unhex(sha256('\x00'::BLOB || encode(record))) FROM read_parquet('e/segments/**/*.parquet') UNION ALL
  SELECT level + 1, i // 2, unhex(sha256('\x01'::BLOB || min_by(h, i) || max_by(h, i))) FROM t GROUP BY level, i // 2 HAVING count(*) = 2)
  SELECT * FROM t;
WITH RECURSIVE s(size, level, h) AS (
  SELECT column0, 0, NULL::BLOB FROM read_csv('sizes', header=false, columns={'column0': 'BIGINT'}) WHERE column0 <= (SELECT max(stop) FROM f) UNION ALL
  SELECT size, s.level + 1, CASE WHEN n.h IS NULL THEN s.h WHEN s.h IS NULL THEN n.h ELSE unhex(sha256('\x01'::BLOB || n.h || s.h)) END
  FROM s LEFT JOIN node n ON n.level = s.level AND n.i = (size >> s.level) - 1 AND (size >> s.level) % 2 = 1 WHERE s.level < 48)
  SELECT 'tree', size, base64(h) FROM s WHERE level = 48;
SQL
grep '^wrong' found >&2 && fail "the events are not what they must be"
sed -n 's/^tree //p' found >roots; sed -n 's/^file \([0-9a-f]*\) \(.*\)/\1  \2/p' found >sums
! grep -vE '^[0-9a-f]{64}  e/(segments/[0-9-]+[.]parquet|(witness|timestamps)/[0-9]{12}[.](note|tst))$' sums &&
    { [ ! -s sums ] || sha256sum --quiet -c sums; } >&2 || fail "files are not what the events say"
# The keys: the first event names the log key and the root key; the root key signs for each later log key.
events=$(sed -n 's/^events //p' found) log=$(sed -n 's/^log //p' found | base64 -d) top=$(sed -n 's/^root //p' found | base64 -d)
rooted='' && : >proven && : >periods && public "$top" root && rname=$kname rid=$kid && public "$log" log-1 &&
    echo "1 $kname $kid" >>periods || fail "the first event names no keys"
grep '^rotation ' found >rotations && while IFS=' ' read -r _ from data; do
    printf %s "$data" | base64 -d >rotation && note rotation && signed "$rname" "$rid" root.pub.pem && [ "$(wc -l <body)" -eq 3 ] &&
        [ "$origin" = 'mocban key rotation' ] && [ "$size" = "$log" ] && public "$root" "log-$from" && rooted=yes log=$root &&
        echo "$from $kname $kid" >>periods || fail "event $((from - 1)) names a log key that the root key did not sign for"
done <rotations
for file in *.pub.*; do cmp -s "$file" "e/keys/$file" || fail "keys/$file is not the key that the events name"; done
printf '{"format":1,"mocban":"ledger","origin":"%s"}\n' "${log%%+*}" | cmp -s - e/format.json || fail "format.json is of another ledger"
# The checkpoints, those that you hold too: the log key of its size signed each, and the tree has its root.
last=0 first=1 sname='' sid=''
for file in e/checkpoints/*.note $held; do
    head_in "$file" || { fail "$file is not a checkpoint"; continue; }
    while IFS=' ' read -r from name id; do [ "$from" -le "$size" ] && first=$from sname=$name sid=$id; done <periods
    signed "$sname" "$sid" "log-$first.pub.pem" || fail "$file is not signed by the log key of its size"
    [ "$origin" = "$sname" ] && grep -qxF "$size $root" roots || { fail "the $size events here are not those of $file"; continue; }
    ours=checkpoints/$(printf '%012d' "$size").note
    case $file in
    e/*) [ "$file" = "e/$ours" ] && last=$size || fail "$file has the wrong name"; bits "log-$first.pub.pem" >>proven
        [ "$size" != 1 ] || ! signed "$rname" "$rid" root.pub.pem || rooted=yes ;;
    *) [ ! -e "e/$ours" ] || ! { cat "e/$ours" "e/witness/${ours#*/}" 2>/dev/null | grep -Fxvf - lines; } >&2 || fail "a signature is gone" ;;
    esac
done
[ -z "$rooted" ] || bits root.pub.pem >>proven
[ "$last" = "$events" ] || fail "${events:-no} events are here, but the last checkpoint is over $last"
[ -z "$key" ] || { bits key.pem >mine && [ -s mine ] && grep -qxFf mine proven; } || fail "your key has signed nothing here"
[ "$bad" = 0 ] || exit 1
[ -n "$key" ] || echo "self-consistent only: without --key anybody may have written this folder"
[ -n "$held" ] || echo "not compared with an older checkpoint: whoever has the log key may have written it anew"
echo "verified: $events events, checkpoint $last $(sed -n 's/^'"$last"' //p' roots)"
