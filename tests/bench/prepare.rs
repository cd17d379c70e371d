//! What one event costs of one core: reading, the street for all destinations, the admission.
#![allow(missing_docs, reason = "a bench is a program")]

fn main() {}
