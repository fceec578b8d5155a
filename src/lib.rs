//! Tollgate: Kafka in, SQL rules over exact sliding windows, alerts out.

pub mod event;

pub mod source;

pub mod decode;
