//! What comes from other machines: HTTP, wrapped once. Knows no decoder and no model.

pub mod chat;
pub mod http;
pub mod s3;
#[cfg(test)]
pub mod scripted;
mod signature;
pub mod webhook;
