//! Reports on recordings: the data, how it is made without a model, and the documents. Asks nobody and reads no file.

pub mod document;
pub mod lesson;
pub mod outline;
pub mod rank;
