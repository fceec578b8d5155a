//! The one integration-test binary: each file below is a group of sentences about the whole.
