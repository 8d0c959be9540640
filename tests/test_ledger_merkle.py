"""The tree equals its recursive definition (RFC 6962), and proofs prove only what is true."""

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preservation.ledger.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_from,
    consistency_proof,
    inclusion_proof,
    is_consistent,
    is_included,
    leaf_hash,
    root_of,
)

SIZES = st.integers(0, 70)


def by_definition(records):
    if not records:
        return sha256(b"").digest()
    if len(records) == 1:
        return sha256(b"\0" + records[0]).digest()
    half = 1
    while half * 2 < len(records):
        half *= 2
    return sha256(b"\1" + by_definition(records[:half]) + by_definition(records[half:])).digest()


def records_of(size, salt=0):
    return [b"%d.%d" % (salt, number) for number in range(size)]


def packed(records):
    return b"".join(map(leaf_hash, records))


def test_the_root_is_the_recursive_one_at_every_size():
    frontier = Frontier()
    for size in range(130):
        records = records_of(size)
        assert by_definition(records) == root_of(packed(records)) == frontier.root()
        frontier = frontier.extended([leaf_hash(b"0.%d" % size)])


def test_the_roots_are_those_of_the_certificate_transparency_test_vectors():
    # The leaves and the root that certificate-transparency-go's merkle tree tests use.
    leaves = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]

    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert root_of(packed([bytes.fromhex(leaf) for leaf in leaves])).hex() == (
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
    )


@given(SIZES, SIZES)
def test_growing_in_two_steps_is_growing_in_one(first, second):
    records = records_of(first + second)
    hashes = [leaf_hash(record) for record in records]

    assert Frontier().extended(hashes) == Frontier().extended(hashes[:first]).extended(hashes[first:])


@settings(max_examples=200)
@given(st.data())
def test_inclusion_is_proven_for_every_leaf_and_for_no_other(data):
    size = data.draw(st.integers(1, 70))
    index = data.draw(st.integers(0, size - 1))
    records = records_of(size)
    proof = inclusion_proof(packed(records), index, size)
    root, leaf = by_definition(records), leaf_hash(records[index])

    assert is_included(leaf, index, size, proof, root)
    assert not is_included(leaf_hash(b"another"), index, size, proof, root)
    assert not is_included(leaf, index, size, proof, by_definition(records_of(size, 1)))
    assert not is_included(leaf, index, size, [*proof, bytes(32)], root)
    assert not is_included(leaf, size, size, proof, root)
    if proof:
        assert not is_included(leaf, index, size, proof[:-1], root)
        place = data.draw(st.integers(0, len(proof) - 1))
        assert not is_included(leaf, index, size, [*proof[:place], bytes(32), *proof[place + 1 :]], root)


@settings(max_examples=200)
@given(st.data())
def test_consistency_is_proven_for_honest_growth_and_for_no_fork(data):
    size = data.draw(st.integers(1, 70))
    old = data.draw(st.integers(1, size))
    records = records_of(size)
    forked = [*records[: old - 1], b"forged", *records[old:]]
    proof, root, old_root = (
        consistency_proof(packed(records), old, size),
        by_definition(records),
        by_definition(records[:old]),
    )

    assert is_consistent(old, size, old_root, root, proof)
    assert not is_consistent(old, size, old_root, by_definition(forked), consistency_proof(packed(forked), old, size))
    assert not is_consistent(old, size, by_definition(forked[:old]), root, proof)
    assert not is_consistent(old, size, old_root, root, [*proof, bytes(32)])
    if proof:
        assert not is_consistent(old, size, old_root, root, proof[:-1])


def test_the_proof_from_the_right_edge_and_the_new_leaves_is_the_proof_from_all_leaves():
    hashes = [leaf_hash(record) for record in records_of(70)]
    for old in range(71):
        frontier = Frontier().extended(hashes[:old])
        for size in range(old, 71):
            assert consistency_proof(b"".join(hashes), old, size) == consistency_from(frontier, hashes[old:], size)


def test_there_is_no_proof_for_leaves_that_did_not_come():
    hashes = [leaf_hash(record) for record in records_of(9)]
    with pytest.raises(ValueError, match="no tree of 10"):
        consistency_from(Frontier().extended(hashes[:3]), hashes[3:], 10)


def test_a_tree_is_consistent_with_the_empty_one_and_never_with_a_larger_one():
    root = by_definition(records_of(5))

    assert is_consistent(0, 5, EMPTY_ROOT, root, [])
    assert not is_consistent(0, 5, root, root, [])
    assert not is_consistent(6, 5, root, root, [])


@pytest.mark.parametrize(
    ("size", "peaks"), [(1, ()), (0, (bytes(32),)), (3, (bytes(32),)), (1, (bytes(31),)), (-1, ())]
)
def test_a_frontier_that_cannot_be_is_refused(size, peaks):
    with pytest.raises(ValueError, match="peak"):
        Frontier(size, peaks)


def test_proofs_about_leaves_that_are_not_there_are_refused():
    leaves = packed(records_of(4))
    for wrong in (lambda: inclusion_proof(leaves, 4, 4), lambda: inclusion_proof(leaves, 0, 5)):
        with pytest.raises(ValueError, match=r"4|5"):
            wrong()
    with pytest.raises(ValueError, match="begin"):
        consistency_proof(leaves, 5, 4)
