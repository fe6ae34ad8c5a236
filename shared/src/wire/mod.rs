//! The local socket's language: frames, hello, requests and responses.

pub mod hello;
pub mod request;
pub mod response;
