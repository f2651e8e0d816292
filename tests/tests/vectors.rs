//! The official test vectors of the standards that the engine claims to follow, one file for each standard. Owns the list.
//!
//! The vectors lie in `fixtures/vectors/STANDARD` with their origin and licence. What a standard allows and the engine does
//! not take is asserted too, with the reason that it gives.

#[path = "vectors/bip174.rs"]
mod bip174;
#[path = "vectors/bip322.rs"]
mod bip322;
#[path = "vectors/bolt11.rs"]
mod bolt11;
