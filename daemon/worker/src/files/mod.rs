//! Hashing and publishing.
