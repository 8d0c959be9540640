"""A store that behaves like S3: sent in parts, created only if absent, listed in slow pages, no rename, no drafts."""

import itertools

from storage_backends.backend import Item, Reach, checked_key, exactly
from storage_backends.errors import GenerationChangedError, KeyExistsError, KeyMissingError, StoreUnavailableError
from storage_backends.memory import MemoryReader

PART = 5 << 20
PAGE = 7


class Bucket:
    """The service: each method is one request."""

    def __init__(self):
        self.objects, self.uploads = {}, {}
        self.numbers = itertools.count(1)
        self.requests = 0
        self.up = True

    def begin(self):
        upload = next(self.numbers)
        self.uploads[upload] = []
        return upload

    def part(self, upload, data):
        assert len(data) <= PART
        self.uploads[upload].append(bytes(data))

    def complete(self, upload, key, *, if_none_match=False, if_match=None):
        """Return the new entity tag, or None where the condition does not hold."""
        found = self.objects.get(key)
        if (if_none_match and found) or (if_match and (not found or found[1] != if_match)):
            return None
        tag = f"etag{next(self.numbers)}"
        self.objects[key] = (b"".join(self.uploads.pop(upload)), tag)
        return tag

    def get(self, key, first, last, tag):
        """Return a range of exactly the object with that tag, None if it is gone (an If-Match request)."""
        found = self.objects.get(key)
        return found[0][first:last] if found and found[1] == tag else None

    def page(self, prefix, after):
        keys = sorted((key for key in self.objects if key.startswith(prefix)), key=str.encode)
        return [(key, *self._head(key)) for key in keys if key.encode() > after.encode()][:PAGE]

    def _head(self, key):
        data, tag = self.objects[key]
        return len(data), tag


class S3likeBackend:
    """Bytes under keys in a bucket."""

    def __init__(self, bucket, *, profile):
        self.place, self.profile, self.bucket = "s3like bucket", profile, bucket

    def write(self, key, size, source):
        checked_key(key)
        if key in self._service().objects:
            raise KeyExistsError(place=self.place, key=key)
        tag = self._upload(key, size, source, if_none_match=True)
        if tag is None:
            raise KeyExistsError(place=self.place, key=key)
        return Item(key, size, tag)

    def replace(self, key, expected, size, source):
        checked_key(key)
        tag = self._upload(key, size, source, if_match=expected.generation)
        if tag is None:
            raise GenerationChangedError(place=self.place, key=key)
        return Item(key, size, tag)

    def read(self, key, *, offset=0, length=None, fresh=False):
        item = self.stat(key)
        data, tag = self._service().objects[key]
        assert tag == item.generation
        end = item.size if length is None else offset + length
        return MemoryReader(data[offset:end], reach=Reach.PROVIDER)

    def stat(self, key):
        checked_key(key)
        found = self._service().objects.get(key)
        if found is None:
            raise KeyMissingError(place=self.place, key=key)
        return Item(key, len(found[0]), found[1])

    def items(self, prefix=""):
        below, after = f"{checked_key(prefix)}/" if prefix else "", ""
        while page := self._service().page(below, after):
            for key, size, tag in page:
                yield Item(key, size, tag)
            after = page[-1][0]

    def delete(self, key):
        self.stat(key)
        del self._service().objects[key]

    def close(self):
        self.bucket = None

    def _upload(self, key, size, source, **conditions):
        service = self._service()
        upload = service.begin()
        try:
            rest = bytearray()
            for data in exactly(source, size, place=self.place, key=key):
                rest += data
                while len(rest) >= PART:
                    service.part(upload, rest[:PART])
                    del rest[:PART]
            service.part(upload, rest)
            return service.complete(upload, key, **conditions)
        finally:
            service.uploads.pop(upload, None)

    def _service(self):
        if not self.bucket.up:
            raise StoreUnavailableError(place=self.place, reason="no answer")
        self.bucket.requests += 1
        return self.bucket
