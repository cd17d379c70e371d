//! What all platforms share when they prepare an event.
