"""A URL names a drive and its changer, in one form, or is refused with a reason; nothing is asked of either for it."""

import io

import pytest
from backend_sources import PROFILE

from storage_backends.backend import Located
from storage_backends.errors import StoreUnavailableError
from storage_backends.locations import BadUrlError, checked_url, medium_of, open_store, stored_id

ISCSI = "127.0.0.1:1/iqn.2026-01.org.example:vtl"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("tape+st:///srv/t?drive=/dev/nst0", "tape+st:///srv/t?drive=/dev/nst0"),
        ("tape+st:///srv/t/?changer=/dev/sg1&drive=/dev/nst0", "tape+st:///srv/t?drive=/dev/nst0&changer=/dev/sg1"),
        (
            "tape+st://localhost/srv/băng?drive=%2Fdev%2Ftape%2Fby-id%2Fscsi-1-nst&changer=/dev/sg1&element=0256",
            "tape+st:///srv/b%C4%83ng?drive=/dev/tape/by-id/scsi-1-nst&changer=/dev/sg1&element=256",
        ),
        (f"tape+iscsi:///t?drive={ISCSI}/1", f"tape+iscsi:///t?drive={ISCSI}/1"),
        (f"tape+iscsi:///t?drive={ISCSI}/1&changer={ISCSI}/3", f"tape+iscsi:///t?drive={ISCSI}/1&changer={ISCSI}/3"),
        ("tape+iscsi:///t?drive=[::1]:3260/iqn.x/0", "tape+iscsi:///t?drive=[::1]:3260/iqn.x/0"),
    ],
)
def test_a_url_of_drives_is_kept_in_one_form(given, kept):
    assert kept == checked_url(given)
    assert kept == checked_url(kept)
    assert "tape" == medium_of(kept)


@pytest.mark.parametrize(
    "bad",
    [
        "tape+st:///srv/t",
        "tape+st:///srv/t?",
        "tape+st:///srv/t?drive=",
        "tape+st:///srv/t?drive=nst0",
        "tape+st:///srv/t?drive=/etc/passwd",
        "tape+st:///srv/t?drive=/dev/../etc/passwd",
        "tape+st:///srv/t?drive=/dev/nst0&drive=/dev/nst1",
        "tape+st:///srv/t?drive=/dev/nst0&density=9",
        "tape+st:///srv/t?drive=/dev/nst0&element=1",
        "tape+st:///srv/t?drive=/dev/nst0&changer=/dev/sg1&element=-1",
        "tape+st:///srv/t?drive=/dev/nst0&changer=/dev/sg1&element=99999",
        "tape+st:///srv/t?drive=/dev/nst0#1",
        "tape+st:///srv/t?drive=/dev/n%00st0",
        "tape+st:///?drive=/dev/nst0",
        "tape+st://host/srv/t?drive=/dev/nst0",
        "tape+st:///srv/../t?drive=/dev/nst0",
        "tape+iscsi:///t?drive=/dev/nst0",
        "tape+iscsi:///t?drive=127.0.0.1/iqn.x/1",
        "tape+iscsi:///t?drive=127.0.0.1:1/iqn.x",
        "tape+iscsi:///t?drive=a b:1/iqn.x/1",
        f"tape+iscsi:///t?drive={ISCSI}/1&changer=/dev/sg1",
        "tape+image:///srv/t?drive=/dev/nst0",
        "file:///srv/t?drive=/dev/nst0",
    ],
)
def test_a_url_that_names_no_drive_is_refused_with_its_reason(bad):
    for ask in (checked_url, medium_of, stored_id):
        with pytest.raises(BadUrlError, match="is not the URL of a store: "):
            ask(bad)


@pytest.mark.parametrize(
    "kind", [f"tape+iscsi://{{}}?drive={ISCSI}/1", "tape+st://{}?drive=/dev/nst99&changer=/dev/sg99"]
)
def test_a_store_in_drives_that_are_not_there_can_be_opened_and_says_so_when_asked(tmp_path, kind):
    url = kind.format(tmp_path)
    store = open_store(url, store_id="s1", profile=PROFILE)

    assert stored_id(url) is None
    assert not isinstance(store, Located)
    for ask in (lambda: store.stat("k"), lambda: list(store.items()), lambda: store.write("k", 1, io.BytesIO(b"x"))):
        with pytest.raises(StoreUnavailableError):
            ask()
    store.close()
