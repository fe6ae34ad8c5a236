//! Hashing and publishing.

pub mod hash;
pub mod publish;
