//! What is seen in pictures: text, objects, and what models make of them.

pub mod batcher;
pub mod description;
pub mod inpaint;
pub mod model;
pub mod network;
pub mod plain;
mod room;
pub mod style;
pub mod tesseract;
pub mod text;
pub mod watermark;
