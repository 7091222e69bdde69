//! The session as its users see it: SQL in, rows or errors out, over a lake in memory.

mod catalog;
mod lake;
mod limits;
mod pruning;
mod row_expr;
mod slt;
