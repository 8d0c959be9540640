"""The pack: a plain tar file, named by its BLAKE3 digest, that every medium holds alike."""
