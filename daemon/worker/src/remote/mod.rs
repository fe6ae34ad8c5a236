//! What comes from other machines: HTTP, wrapped once. Knows no decoder and no model.

pub mod chat;
pub mod http;
#[cfg(test)]
pub mod scripted;
