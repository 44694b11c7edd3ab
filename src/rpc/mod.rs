//! What Dapr is: its calls as a table.
