//! What an editor asks of a workflow file, also of one that is half typed: what a place may hold, what stands there,
//! where a name is defined and used. Answers are made from the same tables as everything else: the schema, the keys,
//! the names in scope of the checks. Knows nothing of protocols; places are bytes of the text.

mod cards;
mod complete;
mod mend;
mod others;
mod place;
mod symbols;

pub use cards::hover;
pub use complete::{Completion, Kind, complete};
pub use others::{Elsewhere, elsewhere};
pub use symbols::{Item, ItemKind, Occurrence, RenameError, Symbol, Symbols, is_workflow};

#[cfg(test)]
mod tests;
