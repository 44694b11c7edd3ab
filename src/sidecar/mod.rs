//! An embedded Dapr sidecar for development and tests.
