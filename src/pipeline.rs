//! The stages in order, readable as prose: plan, consent, value, preparation. Pure.
