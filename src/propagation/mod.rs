//! How trace context travels in headers and events.
